"""What the command line shows of an experiment before it ran: where the money goes, stage by stage and seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.core.figures import count, dollars, hours
from tui.printed.tables import fact, plain_table
from tui.words.text import make_visible, one_line

Row = Mapping[str, Any]

_TRAININGS = ("sft", "dpo")
_ANSWERS = ("evaluation", "repeats")


def experiment_report(found: Row) -> Group:
    """An experiment as `engine.planning.experiment.experiment_of` gives it."""
    return Group(*[
        fact("spec", Text(one_line(str(found["spec"])), style="bold")),
        fact("model", f"{one_line(str(found['model']))}, {found['parameters'] / 1e9:,.3g} billion weights"),
        *experiment_lines(found),
    ])  # fmt: skip


def experiment_lines(found: Row) -> list[RenderableType]:
    """The same below what says which spec and model it is; where it can't be told, why."""
    if found["reason"] is not None:
        return [Text(make_visible(f"  not known: {found['reason']}", limit=400), style="yellow")]
    price = "" if found["usd_per_hour"] is None else f"${found['usd_per_hour']:g} an hour, "
    cap = "no cap" if found["cap_usd"] is None else f"{dollars(found['left_usd'])} left of {dollars(found['cap_usd'])}"
    if found["paid_usd"]:
        cap += f"; {dollars(found['paid_usd'])} of what is below is paid"
    return [
        fact("device", f"{found['gpu']}: {price}{found['priced_on']}"),
        fact("budget", cap),
        Text(),
        _bought(found["lines"]),
        Text(),
        _stages(found["stages"]),
        *_controls(found["controls"]),
        Text(),
        *_one_more(found),
        Text(),
        _kinds(found["kinds"]),
        Text(),
        *_rests_on(found),
    ]


def _bought(lines: Sequence[Row]) -> RenderableType:
    table = plain_table("what, in this order", "time>", "cost>", "spent then>", "within", "rates")
    for line in lines:
        within = {True: Text("✓", style="green"), False: Text("✗", style="bold red"), None: Text("?", style="yellow")}
        cells = (line["what"], hours(line["seconds"] / 3600), dollars(line["usd"]), dollars(line["after_usd"]))
        table.add_row(*cells, within[line["fits"]], line["rate"])
    return table


def _stages(stages: Sequence[Row]) -> RenderableType:
    table = plain_table("stage>", "examples>", "data>", "training>", "evaluation>", "in all>")
    for stage in stages:
        trained = [part for part in stage["parts"] if part["part"] in _TRAININGS]
        answered = [part for part in stage["parts"] if part["part"] in _ANSWERS]
        data = [part for part in stage["parts"] if part["part"] not in (*_TRAININGS, *_ANSWERS)]
        shown = [_amount(parts) for parts in (data, trained, answered, stage["parts"])]
        table.add_row(str(stage["stage"]), count(stage["target"]), *shown)
    return table


def _amount(parts: Sequence[Row]) -> str:
    """What some parts cost; without a price their time."""
    usd = [part["usd"] for part in parts]
    return hours(sum(part["seconds"] for part in parts) / 3600) if None in usd else dollars(sum(usd))


def _controls(controls: Sequence[Row]) -> list[RenderableType]:
    last = [row for row in controls if row["stage"] == controls[-1]["stage"]]
    if not last:
        return []
    table = plain_table("control", "", "time>", "cost>")
    for row in last:
        table.add_row(row["control"], "on" if row["on"] else "off", hours(row["seconds"] / 3600), dollars(row["usd"]))
    names = ", ".join(row["control"] for row in last)
    told = f"  Of stage {last[0]['stage']}; switched on with --set evaluation.controls=[{names}]."
    return [Text(), table, Text(told, style="dim")]


def _one_more(found: Row) -> list[Text]:
    """What one seed and one ablation more cost, and how many the money is enough for after what is planned."""
    after = found["lines"][-1]["after_usd"] if found["lines"] else None
    over = None if after is None or found["left_usd"] is None else found["left_usd"] + found["paid_usd"] - after
    rows = []
    for name, each in (("seed", found["seeds"]["one_more"]), ("ablated principle", found["ablations"]["each"])):
        if not each["seconds"]:
            continue
        told = f"  One more {name}: {hours(each['seconds'] / 3600)}"
        if each["usd"]:
            told += f", {dollars(each['usd'])}"
            told += f"; what is over pays for {count(max(int(over // each['usd']), 0))}" if over is not None else ""
        rows.append(Text(f"{told}."))
    return rows


def _kinds(kinds: Sequence[Row]) -> RenderableType:
    table = plain_table("device", "an hour>", "time in all>", "cost in all>")
    for row in kinds:
        if row["reason"]:
            table.add_row(row["gpu"], dollars(row["usd_per_hour"]), Text(row["reason"], style="yellow"))
        else:
            time = hours(row["seconds"] / 3600)
            table.add_row(row["gpu"], dollars(row["usd_per_hour"]), time, dollars(row["usd"]))
    return table


def _rests_on(found: Row) -> list[Text]:
    rows = [Text(f"  {found['about']}.", style="dim")]
    parts = [part for stage in found["stages"] for part in stage["parts"]]
    measured = {part["part"]: part["n"] for part in parts if part["rate"] == "measured"}
    if measured:
        told = ", ".join(f"{name.replace('_', ' ')} (n {count(n)})" for name, n in measured.items())
        rows.append(Text(f"  Measured on this model and device: {told}.", style="dim"))
    rows.append(Text("  What was not measured rests on these priors:", style="dim"))
    rows += [Text(f"  {one['value']:,g} {one['unit']} ({one['source']})", style="dim") for one in found["priors"]]
    return rows
