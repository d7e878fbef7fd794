"""What the command line shows of training: the plan with its locks, what came out, and merged weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.core.figures import count, format_seconds, measured, mebibytes, percent
from store.names import CONTROL_TRAININGS
from tui.printed.tables import fact, outcome, state_text
from tui.words.text import make_visible, one_line
from tui.words.training import (
    adapter_words,
    examples_words,
    memory_words,
    section_of,
    start_words,
    steps_words,
    title_of,
)

Row = Mapping[str, Any]


def training_plan_report(plan: Row) -> Group:
    """A plan as `engine.training_plan` gives it."""
    memory, parts, fits = memory_words(plan["memory"])
    shut = [lock for lock in plan["locks"] if not lock["open"]]
    state = "is trained already" if plan["done"] else f"{len(shut)} locks are shut" if shut else "can begin"
    if len(shut) == 1 and not plan["done"]:
        state = "one lock is shut"
    style = "green" if plan["done"] or not shut else "bold red"
    rows: list[RenderableType] = [
        Text.assemble((f"{title_of(plan)} {plan['training_id']}", "bold"), "  ", (state, style)),
        fact("run", one_line(str(plan["run"]))),
        fact("examples", examples_words(plan)),
        fact("steps", steps_words(plan)),
        fact("begins with", " ", start_words(plan)),
        fact("memory", Text(memory, style="" if fits else "yellow")),
        *([fact("", parts)] if parts else []),
        fact("adapter", adapter_words(plan["adapter"])),
        Text(),
    ]
    rows += [_lock_line(lock) for lock in plan["locks"]]
    rows.append(Text())
    names = [f"{section_of(plan)}.{name}" for name in plan["settings"]]
    wide = max(map(len, names), default=0) + 2
    for name, value in zip(names, plan["settings"].values(), strict=True):
        rows.append(Text.assemble((f"{name:<{wide}}", "dim"), _plain(value)))
    rows.append(Text())
    return Group(*rows)


def _lock_line(lock: Row) -> Text:
    shape, style = ("✓", "green") if lock["open"] else ("✗", "bold red")
    line = Text.assemble((f"{shape} ", style), (str(lock["name"]), "" if lock["open"] else "bold"))
    line.append(f": {make_visible(str(lock['found']), limit=400)}", style="dim" if lock["open"] else "")
    if not lock["open"]:
        line.append(f"\n  to open it: {make_visible(str(lock['key']), limit=400)}")
    return line


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def training_outcome(
    status: Row, trains: Sequence[str], code: int, reason: str, store: Path, log: Path | None, go_on: str
) -> Group:
    """How a training ended, what it made, and what to do next.

    `status` has the `trainings` that were worked on, `go_on` is the command that goes on with the same training.
    """
    head = [fact("run", Text(str(status["run"]), style="bold")), fact("model", one_line(str(status["model"])))]
    for training in status["trainings"]:
        head += [Text(), *training_lines(training, store)]
    return outcome([*head, Text()], store, log, what_next(status, trains, code, reason, go_on))


def training_lines(training: Row, store: Path | None = None) -> list[Text]:
    """One training: how far it came, loss and held-out loss from the first step to the last, and its adapter."""
    steps = f"{count(training['steps'])} of {count(training['planned_steps'])} steps"
    examples = "" if training["examples"] is None else f" on {count(training['examples'])} examples"
    took = "" if training["elapsed_s"] is None else f", {format_seconds(training['elapsed_s'])}"
    rows = [
        fact("training", Text(str(training["training"]), style="bold"), "  ", state_text(str(training["state"]))),
        fact("", f"{steps}{examples}{took}"),
    ]
    if training["first_loss"] is not None:
        rows.append(fact("loss", f"{training['first_loss']:.4f} → {training['last_loss']:.4f} nats"))
    before, after = training["heldout_before"], training["heldout_after"]
    if after is not None:
        rows.append(fact("held-out", f"{'–' if before is None else f'{before:.4f}'} → {after:.4f} nats"))
    if training["reward_margin"] is not None:
        rows.append(fact("margin", f"{training['reward_margin']:+.3f} at the last step"))
    if training["start"]:
        rows.append(fact("began with", one_line(str(training["start"]))))
    if training["adapter"]:
        where = store.parent / str(training["adapter"]) if store is not None else Path(str(training["adapter"]))
        rows.append(fact("adapter", str(where)))
    if training["reason"]:
        rows.append(fact("reason", make_visible(str(training["reason"]), limit=400)))
    return rows


def what_next(status: Row, trains: Sequence[str], code: int, reason: str, go_on: str) -> list[str]:
    """What a person does now, by how the training ended."""
    run_id = status["run"]
    why = [make_visible(reason, limit=2000)] if reason else []
    match code:
        case 0:
            if trains and trains[-1] in CONTROL_TRAININGS:
                return [*why, f"ask it the items:  cai evaluate {run_id}"]
            preferences = [f"train its preferences:  cai train dpo {run_id}"]
            merged = f"merge it for a server:  cai merge {run_id} --what {trains[-1] if trains else 'sft'} --out DIR"
            return [*why, *(preferences if tuple(trains) == ("sft",) else []), merged]
        case 4:
            plan = f"see every lock:  {go_on} --plan"
            return [*why, "Nothing was trained, and nothing that is stored was changed.", plan]
        case 3:
            return [*why, f"Nothing was trained yet. When it is decided, go on with: {go_on}"]
        case 130:
            return [*why, f"Nothing is lost. Go on from the last checkpoint with: {go_on}"]
    return [*why, f"What was reached is kept. After the cause is removed, go on with: {go_on}"]


def merge_report(found: Row) -> Group:
    """What `engine.training.merge.merge_adapter` wrote, and how far the merged weights are from the adapter's."""
    way = str(found["way"]) + (f", since {found['why']}" if found["why"] else "")
    rows = [
        fact("run", Text(str(found["run"]), style="bold")),
        fact("training", str(found["training"])),
        fact("merged", f"{measured(float(found['files']))} files, {mebibytes(found['n_bytes'])}, {found['dtype']}"),
        fact("", make_visible(way, limit=400)),
    ]
    if found["trained_on"]:
        rows.append(fact("four bits", Text(str(found["trained_on"]), style="yellow")))
    drift = found["drift"]
    if drift is None:
        missing = found["not_measured"]
        rows.append(fact("drift", Text(f"not measured: {missing['why']}", style="yellow")))
        rows.append(fact("", f"measure it where there is more memory:  {make_visible(missing['command'], limit=2000)}"))
    else:
        same = drift["same_top1"]
        told = percent(same) if isinstance(same, float) else count(same)
        most = f"logits within {drift['largest_logit']:.2e}"
        most += f", log-probabilities within {drift['largest_logprob']:.2e} nats"
        rows.append(fact("compared", f"with the adapter on {count(drift['prompts'])} prompts: {most}"))
        rows.append(fact("", f"the same likeliest next token in {told}"))
    return Group(*rows, fact("out", str(found["out"])))
