"""What the command line shows of a run, as Rich renderables: gates, phases, runs, samples, a check of the machine.

Text written by a model is made visible and never read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO, cast

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.core.figures import count, format_seconds, hours, measured, percent_of, percents_dashed
from engine.stats.shares import wilson
from store.headline import told_in_green
from store.outcomes import FAILED, PASSED, in_percent, tally, title_of
from tui.words.audits import GOOD, sentence
from tui.words.text import make_visible, one_line
from tui.words.wording import PHASE_SHAPES, RESULTS, STATES, VERDICT_SHAPES, phase_title, repeat_of, state_mark

Row = Mapping[str, Any]

LEVEL_STYLES = {"info": "", "warning": "yellow", "error": "bold red"}
_STYLES = {"good": "green", "bad": "bold red", "warn": "yellow", "busy": "cyan", "quiet": "dim"}
_VERDICT_STYLES = {"accepted": "green", "rejected": "red", "unsure": "yellow"}
_WIDE = 10_000  # columns where nobody looks at a screen: nothing is wrapped, so that lines can be cut and searched


def console_on(stream: Any) -> Console:
    """A console for one of the terminal's streams: no control codes where it is no terminal, NO_COLOR respected."""
    tty = stream.isatty()
    return Console(
        file=cast(TextIO, stream),
        force_terminal=tty,
        width=None if tty else _WIDE,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )


def state_text(state: str, *, audited: bool = True) -> Text:
    """A state with its shape and colour; of a run's data `audited` says whether its quality is known."""
    shape, word, tone = state_mark(state, audited=audited)
    return Text(f"{shape} {word}", style=_STYLES[tone])


def fact(name: str, *values: str | Text) -> Text:
    """One line: a name and what is known about it."""
    return Text.assemble((f"{name:<11}", "dim"), *values)


def gate_facts(gates: Sequence[Row]) -> list[Text]:
    """What each gate came to, and how many of its checks passed of those that were tested."""
    found = []
    for gate in gates:
        shape, word, tone = RESULTS[gate["result"]]
        found.append(
            fact("gate", Text(f"{shape} {gate['name']} {word}", _STYLES[tone]), f" · {tally(gate['evidence'])}")
        )
    return found


def gate_table(checks: Sequence[Row], gate: str = "gate") -> Table:
    """Every check with its evidence; rows as Reader.gates gives them, the column of their gate headed `gate`."""
    table = plain_table("", gate, "check", "measured>", "95 % interval", "n>", "needs", "against>", "result")
    for item in checks:
        shape, word, tone = RESULTS[item["result"]]
        style = _STYLES[tone]
        interval = "" if item.get("lo") is None else f"{measured(item['lo'])} – {measured(item['hi'])}"
        needs = f"{item['op']} {measured(item['threshold'])}"
        figure, interval, needs = in_percent(item) or (measured(item["measured"]), interval, needs)
        against = len(item.get("subject_ids") or ())
        add(
            table, Text(shape, style), str(item["gate"]),
            title_of(item), figure, interval, count(item["n"]), needs, count(against) if against else "–",
            Text(f"{word}: {item['untested']}" if item["untested"] else word, style),
        )  # fmt: skip
    return table


def phase_table(phases: Sequence[Row]) -> Table:
    """The phases of a stored run, as Reader.status gives them."""
    table = plain_table("", "phase", "state", "done>", "planned>", "accepted>")
    for item in phases:
        shape = PHASE_SHAPES.get(item["state"], PHASE_SHAPES["pending"])
        accepted = "" if item["accepted"] is None else count(item["accepted"])
        name, done, planned = phase_title(item["name"]), count(item["done"]), count(item["planned"])
        add(table, shape, name, item["state"], done, planned, accepted)
    return table


def status_report(status: Row, checks: Sequence[Row]) -> Group:
    """A run on one page."""
    parts: list[RenderableType] = [
        fact(
            "run",
            Text(str(status["run"]), style="bold"),
            "  ",
            state_text(str(status["state"]), audited=told_in_green(status)),
        ),
        *spec_facts(status),
        fact("accepted", counts_text(status)),
        *good_facts(status),
        *stand_in_facts(status),
        *preference_facts(status),
        *gate_facts(status["gates"]),
        fact("time", format_seconds(status["elapsed_s"]), f" · {str(status['created_at'])[:19]} UTC"),
    ]
    if again := status.get("repeat"):
        same = again["texts"] - again["texts_differing"]
        said = (
            f"{same:.0f} of {again['texts']:.0f} texts the same when generated alone, "
            f"margins within {again['largest_difference_nats']:.1e} nats"
        )
        parts.append(fact("repeated", said))
    if gpu := status.get("gpus"):
        idle, whole = (hours(gpu[name] / 3600) for name in ("idle_s", "measured_s"))
        most = phase_title(gpu["phases"][0]["phase"])
        told = f"{gpu['busy_percent']:.0f} % busy, {idle} of {whole} idle, most of it in {most}"
        parts.append(fact("GPU", told))
    if status.get("reason"):
        parts.append(fact("reason", make_visible(str(status["reason"]), limit=400)))
    parts += [fact("trained", Text(line)) for line in map(_trained, status.get("trainings") or ())]
    parts += [Text(), phase_table(status["phases"])]
    if checks:
        parts += [Text(), gate_table(checks)]
    return Group(*parts)


def _trained(training: Row) -> str:
    """A training on one line."""
    told = [
        f"{training['training']} {STATES.get(training['state'], ('', training['state'], ''))[1]}",
        f"{count(training['steps'])}/{count(training['planned_steps'])} steps",
    ]
    for name, first, last in (("loss", "first_loss", "last_loss"), ("held-out", "heldout_before", "heldout_after")):
        if training[last] is not None:
            was = "" if training[first] is None else f"{training[first]:.4f} → "
            told.append(f"{name} {was}{training[last]:.4f}")
    return " · ".join(told)


def spec_facts(status: Row) -> list[Text]:
    """Which spec, which model, which seed; and what was changed."""
    lines = [
        fact("spec", one_line(str(status["spec"])), (f" · sha256 {str(status['spec_sha256'])[:12]}")),
        fact("model", one_line(str(status["model"])), f" · seed {status['seed']}"),
    ]
    if check := status.get("self_check"):
        lines.append(
            fact("self-check", Text(one_line(check["told"], 400), style="yellow" if check.get("doubtful") else ""))
        )
    changed = status.get("overrides") or {}
    if changed:
        told = ", ".join(f"{key} {_change(value)}" for key, value in changed.items())
        lines.append(fact("changed", Text(one_line(told, 400), style="yellow")))
    return lines


def stand_in_facts(status: Row) -> list[Text]:
    """What judges where the model shows no hidden states to probe."""
    told = ", ".join(f"{name} judges {kind}s" for kind, name in (status.get("stand_ins") or {}).items())
    return [fact("no probe", f"{told}: the backend shows no hidden states")] if told else []


def preference_facts(status: Row) -> list[Text]:
    """Useful revisions and kept pairs by source, of a run that makes them."""
    found = status.get("preferences")
    if not found:
        return []
    n, kept = found["revisions"], found["revisions_kept"]
    lo, hi = wilson(kept, n)
    useful = f"{count(kept)} of {count(n)} useful"
    if n:
        useful += f", {percent_of(kept, n)} {percents_dashed(lo, hi)}"
    by_source = ", ".join(
        f"{name.replace('_', ' ')} {item['kept']:,}/{item['pairs']:,}"
        for name, item in found["pairs_by_source"].items()
    )
    pairs = f"{count(found['pairs_kept'])} of {count(found['pairs'])} kept"
    return [fact("revisions", useful), fact("pairs", pairs, f" · {by_source}" if by_source else "")]


def good_facts(status: Row) -> list[Text]:
    """The share of good ones among what is accepted, by the audit of the critic that decides, and what it costs."""
    found = status.get("good_among_accepted") or ()
    return [fact(f"{GOOD[one['kind']]:<12}", sentence(one)) for one in found]


def _change(value: object) -> str:
    return f"{value[0]} → {value[1]}" if isinstance(value, (list, tuple)) and len(value) == 2 else f"= {value}"


def counts_text(status: Row) -> Text:
    """What kind of acceptance it was, in the words of every face, and of how many samples."""
    counts = status.get("counts") or {}
    target = status.get("target") or status.get("pilot")
    kind = status["acceptance"]
    wanted = f" · {count(target)} wanted" if target else ""
    told = Text(str(kind["told"]), style="green" if kind["shown"] else "yellow")
    return told.append(f"{wanted}, {count(counts.get('samples'))} samples", style="default")


def runs_table(runs: Iterable[Row]) -> Table:
    """One line a run, newest first, each with its `acceptance`."""
    table = plain_table("run=", "state", "spec", "model", "seed>", "accepted", "target>", "time>", "created (UTC)")
    for run in runs:
        kind, repeats = run["acceptance"], repeat_of(run)
        told = Text(f"repeat {repeats}") if repeats else Text(str(kind["told"]), "green" if kind["shown"] else "yellow")
        add(
            table, Text(str(run["run_id"]), "bold"), state_text(str(run["state"]), audited=told_in_green(run)),
            one_line(str(run["spec"]), 40), one_line(str(run["model"]), 40), str(run["seed"]), told,
            count(run["target"]), format_seconds(run["elapsed_s"]), str(run["created_at"])[:16],
        )  # fmt: skip
    return table


def samples_report(samples: Sequence[Row]) -> Group:
    """Samples one below the other: verdict, instruction, response, scores, flags."""
    parts: list[Text] = []
    for sample in samples:
        verdict = str(sample["verdict"] or "not judged")
        style = _VERDICT_STYLES.get(verdict, "dim")
        scores = " ".join(f"{name} {score:+.2f}" for name, score in sample["scores"].items())
        why = " ".join(filter(None, (", ".join(sample["flags"]), f"({sample['basis']})" if sample["basis"] else "")))
        parts += [
            Text.assemble(
                (f"{VERDICT_SHAPES.get(verdict, '·')} {verdict}", style),
                (f"  #{sample['ordinal']} {sample['sample_id']}  {scores}  {one_line(why)}", "dim"),
            ),
            Text(f"  {one_line(str(sample['instruction'] or ''), 400)}", style="bold"),
            Text("  " + make_visible(str(sample["response"]), limit=1200).replace("\n", "\n  ")),
            Text(),
        ]
    return Group(*parts)


def queue_report(samples: Sequence[Row], head: str, keep: str) -> Group:
    """Samples to label one below the other, how far labelling is, how to `keep` a label; nothing that a critic said."""
    parts = [Text(head), Text()]
    for sample in samples:
        parts += [
            Text(str(sample["sample_id"]), style="dim"),
            Text(f"  {one_line(str(sample['instruction'] or ''), 400)}", style="bold"),
            Text("  " + make_visible(str(sample["response"]), limit=1200).replace("\n", "\n  ")),
            Text(),
        ]
    return Group(*parts, Text(f"keep a label with: {keep}" if samples else "nothing is left to label here"))


def recheck_report(result: Row) -> Group:
    """What other settings would have decided: verdicts before and after, and the gate's checks, as engine.recheck."""
    before, after = result["before"], result["after"]
    table = plain_table("verdicts", "before>", "after>")
    for kind, verdicts in after["counts"].items():
        for verdict, now in verdicts.items():
            was = before["counts"].get(kind, {}).get(verdict, 0)
            style = "" if was == now else "bold"
            table.add_row(Text(f"{kind} {verdict}", style=style), Text(count(was)), Text(count(now), style=style))
    was = {item["name"]: item["result"] for item in before["checks"]}
    checks = []
    for item in after["checks"]:
        changed = "now" if was.get(item["name"]) != item["result"] else ""
        checks.append({**item, "check_name": item["name"], "gate": changed})
    verdict = {PASSED: "The gate would pass", FAILED: "The gate would fail"}.get(
        after["result"], "The gate would not be tested"
    )
    end = f"{verdict}: {tally(checks)}."
    return Group(
        fact("run", Text(str(result["run"]), style="bold")),
        fact("spec", one_line(str(result["spec"]))),
        fact("changed", ", ".join(f"{key}={value}" for key, value in result["overrides"].items()) or "nothing"),
        Text(),
        table,
        Text(),
        gate_table(checks, gate="changed"),
        Text(),
        Text(f"{end} Nothing was generated, and nothing stored was changed."),
    )


def error_report(console: Console, title: str, hint: str) -> None:
    """An error that a person can act on."""
    console.print(Text.assemble(("error: ", "bold red"), make_visible(title, limit=2000)), soft_wrap=True)
    if hint:
        console.print(Text(make_visible(hint, limit=2000)), soft_wrap=True)
    console.file.flush()


_DOCTOR = {
    "ok": ("✓", "green"), "absent": ("·", "dim"), "warning": ("!", "yellow"), "failed": ("✗", "bold red"),
    "hung": ("✗", "bold red"),
}  # fmt: skip


def doctor_table(report: Row) -> Table:
    """The checks of a machine or a model; rows as engine.doctor.machine.examine gives them."""
    table = plain_table("", "check", "state", "detail", "s>")
    for item in report["checks"]:
        shape, style = _DOCTOR.get(item["state"], (" ", ""))
        detail, took = make_visible(item["detail"], limit=300), Text(f"{item['elapsed_s']:.1f}", "dim")
        add(table, Text(shape, style), item["name"], Text(item["state"], style), detail, took)
    return table


def plain_table(*columns: str, wrapped: bool = True) -> Table:
    """A table without frame; a name that ends in > is a column of numbers, one in = of ids, never wrapped."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name.endswith(">") else "left"
        whole = not wrapped or name.endswith("=")
        table.add_column(name.rstrip(">="), justify=justify, overflow="fold", no_wrap=whole)
    return table


def add(table: Table, *cells: str | Text) -> None:
    """A row of a table; nothing in a cell is markup."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))


def outcome(
    head: Sequence[RenderableType],
    store: Path,
    log: Path | None,
    then: Sequence[str],
    body: Sequence[RenderableType] = (),
) -> Group:
    """How something ended: what it was, where its rows and its log are, what it showed, and what to do next."""
    logged = [fact("log", str(log))] if log is not None else []
    return Group(Text(), *head, fact("store", str(store)), *logged, *body, Text(), *map(Text, then))
