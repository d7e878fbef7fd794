"""A training in a few lines: how far it is, how fast, what it costs, on what it learns, what is kept of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any

from textual.content import Content

from engine.core.figures import NO_PRICE, count, format_seconds, mebibytes
from store.names import ALIVE
from tui.widgets.marks import QUIET, TONES, progress_bar, row
from tui.words.text import one_line
from tui.words.wording import STATES

SPEED_OVER_STEPS = 20
GIB = 2**30
Row = Mapping[str, Any]


def account_lines(
    training: Row, steps: Sequence[Row], checkpoints: Sequence[Row], width: int, *,
    price_per_hour: float | None = None, doing: str = "", at: int | None = None, now: datetime | None = None,
) -> list[Content]:  # fmt: skip
    """`doing` is what the engine does instead of taking steps, such as loading the model.

    `at` is the step at which the process is: one that begins again from a checkpoint is behind the last stored step.
    """
    shape, word, tone = STATES.get(str(training["state"]), ("?", str(training["state"]), "quiet"))
    planned = int(training["planned_steps"])
    done = at if at is not None else int(steps[-1]["step"]) if steps else 0
    head = row(
        (f"{shape} {word} ", TONES.get(tone, "")),
        progress_bar(done / planned if planned else 0.0, 16),
        (f" step {done:,} of {planned:,}", "bold"),
        (f" · {doing}" if doing else "", TONES["warn"]),
    )
    figures = _figures(training, steps, planned - done, price_per_hour, now or datetime.now(UTC))
    beside = " · ".join(figures)
    if head.cell_length + len(beside) + 3 <= width:
        rows = [Content.assemble(head, f" · {beside}" if beside else "")]
    else:
        rows = [head, *(row(line) for line in wrapped(figures, width))]
    rows += [row((line, QUIET)) for line in wrapped(_data(training), width)]
    if training["reason"]:
        folded = wrap(one_line(str(training["reason"]), 3 * width), width, max_lines=3, placeholder=" …")
        rows += [row((line, "" if training["state"] == "done" else TONES["warn"])) for line in folded]
    rows += [row((line, QUIET)) for line in wrapped(_kept(training, checkpoints), width)]
    return rows


def _figures(training: Row, steps: Sequence[Row], left: int, price: float | None, now: datetime) -> list[str]:
    recent = steps[-SPEED_OVER_STEPS:]
    spent = sum(step["seconds"] for step in recent)
    found = []
    if spent > 0:
        found.append(f"{sum(step['n_tokens'] for step in recent) / spent:,.0f} tok/s")
    eta = 0.0
    if training["state"] == "running" and recent and left > 0:
        eta = left * statistics.median(step["seconds"] for step in recent)
        found.append(f"ETA {format_seconds(eta)}")
    elapsed = elapsed_s(training, steps, now)
    if elapsed > 0:
        found.append(f"{format_seconds(elapsed)} {'in all' if training['state'] == 'done' else 'so far'}")
    if price is None:
        found.append(NO_PRICE)
    elif elapsed > 0:
        whole = f" of about ${price * (elapsed + eta) / 3600:,.2f}" if eta else ""
        found.append(f"${price * elapsed / 3600:,.2f}{whole}")
    peak = max((step["memory_bytes"] or 0 for step in steps), default=0)
    forecast = (training["facts"].get("forecast") or {}).get("total")
    has = f" of {training['device_bytes'] / GIB:.0f}" if training["device_bytes"] else ""
    if peak:
        found.append(f"{peak / GIB:.1f}{has} GiB" + (f" (forecast {forecast / GIB:.1f})" if forecast else ""))
    elif forecast:
        found.append(f"memory forecast {forecast / GIB:.1f}{has} GiB")
    return [*found, *([one_line(str(training["device"]), 40)] if training["device"] else [])]


def elapsed_s(training: Row, steps: Sequence[Row], now: datetime) -> float:
    """Time of working processes: as stored, and since then where one is at work."""
    if training["elapsed_s"] is None:
        return float(sum(step["seconds"] for step in steps))
    since = (now - training["updated_at"]).total_seconds() if training["state"] in ALIVE else 0.0
    return float(training["elapsed_s"]) + max(0.0, since)


def _data(training: Row) -> list[str]:
    """What it begins with and on what it learns; a micro-batch that memory made smaller is told as such."""
    facts = training["facts"]
    found = [f"from the adapter of {training['start_training']}" if training["start_training"] else "a new adapter"]
    if facts.get("examples") is not None:
        found.append(f"{count(facts['examples'])} examples, {count(facts.get('heldout', 0))} held out")
    sizes = facts.get("micro_batches") or ()
    if facts.get("micro_batch"):
        smaller = f", {sizes[0]} were too many for the memory" if sizes and sizes[0] != facts["micro_batch"] else ""
        found.append(f"{facts['micro_batch']} × {facts.get('accumulation', 1)} examples a step{smaller}")
    if facts.get("processes", 1) > 1:
        found.append(f"{facts['processes']} processes")
    return found if facts else []


def _kept(training: Row, checkpoints: Sequence[Row]) -> list[str]:
    found = []
    if checkpoints:
        last = checkpoints[-1]
        found.append(f"last checkpoint: step {last['step']:,} ({mebibytes(last['n_bytes'])})")
        measured = [item for item in checkpoints if item["heldout_loss"] is not None]
        if measured:
            best = min(measured, key=lambda item: item["heldout_loss"])
            before = training["heldout_before"]
            was = "" if before is None else f", {before:.4f} before training"
            found.append(f"best: step {best['step']:,}, held-out loss {best['heldout_loss']:.4f}{was}")
    elif training["state"] != "done":
        found.append("no checkpoint yet")
    if training["adapter_path"]:
        found.append(f"adapter of step {count(training['adapter_step'])}: {one_line(str(training['adapter_path']))}")
    return found


def wrapped(parts: Sequence[str], width: int) -> list[str]:
    """The parts with dots between them, on as few lines as hold them; one that is longer than a line is cut."""
    found: list[str] = []
    for part in parts:
        if found and len(found[-1]) + 3 + len(part) <= width:
            found[-1] += f" · {part}"
        else:
            found.append(one_line(part, width))
    return found
