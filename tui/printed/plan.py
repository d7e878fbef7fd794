"""What the command line shows of a plan and of the ledger: figures with their intervals, and why one is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.budget.prices import NO_PRICE_KNOWN
from engine.core.figures import NO_GPU_PRICE, NO_PRICE, count, dollars, percent, percents_dashed
from tui.printed.experiment import experiment_lines
from tui.printed.tables import fact, plain_table
from tui.words.text import make_visible, one_line
from tui.words.wording import phase_title

Row = Mapping[str, Any]

_PARTS = {"samples": "samples to target", "pairs": "preference pairs", "gates": "the next gates",
          "sft": "SFT", "dpo": "preferences", "sft_random": "SFT, random", "sft_length": "SFT, length",
          "evaluation": "evaluation", "references": "reference answers"}  # fmt: skip
_ADVICE = {
    "go on": ("go on", "green"),
    "doubt": ("the trend alone would not get there; the planned effect would", "yellow"),
    "stop": ("stop: even the planned effect is not likely to show any more", "bold red"),
}


def plan_report(plan: Row) -> Group:
    """A plan as `engine.planning.plan.plan_of` gives it, and under `experiment` what `experiment_of_run` does."""
    rows: list[RenderableType] = [
        fact("run", Text(str(plan["run"]), style="bold")),
        fact("budget", _left(plan["budget"], priced=plan["price_per_hour"] is not None)),
        fact("price", _price(plan["price_per_hour"])),
        fact("accepted", _known(plan["rates"]["accepted"], _share_of("samples judged"))),
        fact("pairs kept", _known(plan["rates"]["pairs_kept"], _share_of("pairs made of the run's own samples"))),
        fact("candidates", _known(plan["rates"]["candidates_needed"], _needed)),
        *_heading("What one costs", "of the device's time, with all that led to it"),
        _costs(plan["costs"]),
        *_heading("What is left", "95 % intervals of the mean, from what was measured"),
        *_forecast(plan["forecast"]),
        *_heading("How many items", "for the claim, templates as clusters"),
        *_sample_size(plan["sample_size"]),
        *_heading("What k in Best-of-N buys", "in nats of the critic that ranks"),
        *_best_of(plan["best_of"]),
        *_heading("Which ablations fit", "each of one principle"),
        *_ablations(plan["ablations"]),
        *_heading("When to stop early", "the chance that the end shows an effect"),
        *_futility(plan["futility"]),
        *_heading("How the rest goes over the stages", ""),
        *_allocation(plan["allocation"]),
        *_heading("The whole experiment", "stages, controls, seeds and ablations; cai plan SPEC before any run"),
        *experiment_lines(plan["experiment"]),
    ]
    return Group(*rows)


def budget_report(found: Row) -> Group:
    """The ledger as `engine.planning.plan.budget_of` gives it."""
    rows: list[RenderableType] = [
        fact("run", Text(str(found["run"]), style="bold"), f"  {_spent(found['of_run_usd'], found)} of its own"),
        fact("budget", _left(found), " · over all runs of this store"),
    ]
    for title, sums in (("run", "by_run"), ("stage", "by_stage"), ("phase", "by_phase"), ("kind", "by_kind")):
        if found[sums]:
            table = plain_table(title, "spent>", "reserved>")
            for name, amount in found[sums].items():
                shown = phase_title(name) if title == "phase" else one_line(name, 40)
                table.add_row(shown, _spent(amount["settled_usd"], found), _spent(amount["reserved_usd"], found))
            rows += [Text(), table]
    if found["units"]:
        table = plain_table("bought", "unit", "quantity>", "price of", "$>")
        for unit in found["units"]:
            unpriced = unit["priced_on"] == NO_PRICE_KNOWN
            table.add_row(
                one_line(unit["detail"], 24), unit["unit"].replace("_", " "), f"{unit['quantity']:,.0f}",
                "–" if unpriced else one_line(unit["priced_on"], 24), NO_PRICE if unpriced else dollars(unit["usd"]),
            )  # fmt: skip
        rows += [Text(), table]
    else:
        rows += [Text(), Text("Nothing was spent yet.")]
    for one in found["decisions"]:
        told = f"{one['at'][:16]} to {dollars(float(one['answer']))} by {one['decided_by']}: {one['reason']}"
        rows.append(fact("raised", Text(make_visible(one_line(told, 400)))))
    return Group(*rows)


def repeat_report(told: Row) -> Group:
    """What repeats of a run would cost: one by its parts, all together, and whether that fits the budget."""
    cost, table = told["cost"], plain_table("part", "time>", "95 %", "cost>", "95 %", "n>")
    done = told["seeds"] - cost["repeats"]
    rows: list[RenderableType] = [
        fact("run", Text(str(told["run"]), style="bold")),
        fact("repeats", f"{count(cost['repeats'])} left of {count(told['seeds'])} with other seeds"),
        fact("price", _price(cost["price_per_hour"])),
        Text(),
    ]
    if not cost["repeats"]:
        return Group(*rows[:1], fact("repeats", f"all {count(done)} are through"))
    lines = [(_PARTS.get(part["name"], part["name"]), part) for part in cost["parts"]]
    for name, one in [*lines, ("one repeat", cost["one"]), (f"all {count(cost['repeats'])}", cost["all"])]:
        if one["seconds"]["value"] is None:
            table.add_row(name, Text("?", style="yellow"))
            continue
        more = "≥ " if one["seconds"].get("missing") else ""
        (taken, within), (paid, between) = _times(one["seconds"]), _money(one["usd"])
        paid = more + paid if paid else ""
        table.add_row(name, more + taken, within, paid, between, count(one["seconds"]["n"]))
    rows.append(table)
    rows += [_why(f"{name}: {one['seconds']['reason']}") for name, one in lines if one["seconds"]["value"] is None]
    if cost["fits_budget"] is not None:
        words = "They fit the budget." if cost["fits_budget"] else "They do not fit the budget."
        rows.append(Text(f"  {words}", style="green" if cost["fits_budget"] else "bold red"))
    return Group(*rows, Text(f"  {cost['about']}", style="dim"))


def _heading(title: str, more: str) -> list[Text]:
    return [Text(), Text.assemble((title, "bold"), (f"  {more}" if more else "", "dim"))]


def _why(text: str | None) -> Text:
    return Text(make_visible(f"  not known: {text}", limit=400), style="yellow")


def _left(budget: Row, *, priced: bool = True) -> str:
    """What is spent and what is left; where nothing has a price, that instead of $0.00."""
    used = budget["spent_usd"] + budget["reserved_usd"]
    if not used and (budget["unpriced"] or not priced):
        cap = "no cap" if budget["cap_usd"] is None else f"a cap of {dollars(budget['cap_usd'])}"
        return f"{NO_GPU_PRICE}, {cap}"
    rest = f"; of some of it {NO_PRICE}" if budget["unpriced"] else ""
    if budget["cap_usd"] is None:
        return f"{dollars(used)} spent or reserved, no cap{rest}"
    of = f"{dollars(used)} of {dollars(budget['cap_usd'])} spent or reserved"
    return f"{of}, {dollars(budget['left_usd'])} left{rest}"


def _spent(amount: float, budget: Row) -> str:
    """An amount; nothing of what has no price is no amount."""
    return NO_PRICE if not amount and budget["unpriced"] else dollars(amount)


def _price(price: float | None) -> str | Text:
    if price is None:
        return Text(f"{NO_GPU_PRICE}: times only", style="yellow")
    return f"${price:g} an hour"


def _known(figure: Row, told: Callable[[Row], str]) -> str | Text:
    """The figure, or why there is none."""
    return Text(figure["reason"], style="yellow") if figure["value"] is None else told(figure)


def _share_of(what: str) -> Callable[[Row], str]:
    def told(figure: Row) -> str:
        share = f"{percent(figure['value'])} of {count(figure['n'])} {what}"
        return f"{share}, {percents_dashed(figure['lo'], figure['hi'])}"

    return told


def _needed(figure: Row) -> str:
    return f"{figure['value']:,.0f} in all for the target [{figure['lo']:,.0f}–{figure['hi']:,.0f}]"


def _unit(seconds: float) -> tuple[str, int]:
    return next(((unit, size) for unit, size in (("h", 3600), ("min", 60)) if seconds >= 1.5 * size), ("s", 1))


def _digits(value: float) -> str:
    """Three digits: 0.024, 8.43, 50.3, 1,143."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def _times(figure: Row) -> tuple[str, str]:
    """A time and its interval, both in the unit that suits the time."""
    if figure["value"] is None:
        return "", ""
    unit, size = _unit(figure["value"])
    return f"{_digits(figure['value'] / size)} {unit}", _between(figure, lambda seconds: _digits(seconds / size))


def _money(figure: Row) -> tuple[str, str]:
    if figure["value"] is None:
        return "", ""
    return dollars(figure["value"]), _between(figure, lambda usd: dollars(usd)[1:])


def _between(figure: Row, form: Callable[[float], str]) -> str:
    """An interval, with … where a bound is not known."""
    if figure["lo"] is None and figure["hi"] is None:
        return ""
    return "[" + "–".join("…" if figure[name] is None else form(figure[name]) for name in ("lo", "hi")) + "]"


def _costs(costs: Row) -> RenderableType:
    table = plain_table("one", "time>", "95 %", "cost>", "95 %", "n>")
    names = {"accepted_example": "accepted example", "kept_pair": "kept pair", "kept_pair_alone": "kept pair, alone"}
    for name, shown in names.items():
        seconds, usd = costs[name]["seconds"], costs[name]["usd"]
        if seconds["value"] is None:
            table.add_row(shown, Text(seconds["reason"], style="yellow"))
        else:
            table.add_row(shown, *_times(seconds), *_money(usd), count(seconds["n"]))
    return table


def _forecast(forecast: Row) -> list[RenderableType]:
    table = plain_table("part", "time>", "95 %", "cost>", "95 %", "n>")
    phase, stage, pipeline = forecast["phase"], forecast["stage"], forecast["pipeline"]
    lines: list[tuple[str, Row, str]] = []
    if phase["seconds"]["phase"] is not None:
        lines.append((f"this phase: {phase_title(phase['seconds']['phase'])}", phase, ""))
    lines += [(_PARTS.get(part["name"], part["name"]), part, "") for part in stage["parts"]]
    lines += [("this stage", stage, "bold"), ("the pipeline", pipeline, "bold")]
    reasons: list[tuple[str, str]] = []
    for name, one, style in lines:
        seconds, usd = one["seconds"], one["usd"]
        if seconds["value"] is None:
            reasons.append((name, seconds["reason"]))
            table.add_row(Text(name, style=style), Text("?", style="yellow"))
            continue
        more = "≥ " if seconds.get("missing") else ""
        (taken, within), (cost, between) = _times(seconds), _money(usd)
        table.add_row(
            Text(name, style=style), more + taken, within, more + cost if cost else "", between, count(seconds["n"])
        )
    found: list[RenderableType] = [table]
    told: dict[str, list[str]] = {}
    of_stage = {reason for _, reason in reasons}
    others = [(name, why) for name, why in pipeline["seconds"].get("missing", {}).items() if why not in of_stage]
    for name, reason in [*reasons, *others]:
        if name not in ("this stage", "the pipeline"):
            told.setdefault(reason, []).append(name)
    found += [Text(f"  ? {', '.join(names)}: {one_line(why, 300)}", style="yellow") for why, names in told.items()]
    fits = stage["fits_budget"]
    if fits is not None:
        words = "The stage fits the budget." if fits else "The stage does not fit the budget."
        found.append(Text(f"  {words}", style="green" if fits else "bold red"))
    found.append(Text(f"  {forecast['about']}", style="dim"))
    return found


def _sample_size(found: Row) -> list[RenderableType]:
    rows: list[RenderableType] = []
    for one in found["planned"]:
        planned = f"{count(one['n'])} items of {count(one['clusters'])} templates"
        if not one["tested"]:
            told = f"  Planned, {one['of']}: {planned}, described only: a test needs {found['enough']} templates."
            rows.append(Text(told))
            continue
        shows = "no difference is sure to show"
        if one["detectable"] is not None:
            shows = f"a difference of {100 * one['detectable']:.1f} points shows with that power"
        rows.append(Text(f"  Planned, {one['of']}: {planned}, power {one['power']:.3f}; {shows}."))
        if one["n_needed"] is not None and one["of"] == "all":
            rows.append(Text(f"  {_items_needed(found, one)}"))
    if found["planned"]:
        rows.append(Text(f"  {_alike(found['likeness'], found['planned'][0])}", style="dim"))
    return [*rows, *([_why(found["reason"])] if found["reason"] else [])]


def _items_needed(found: Row, one: Row) -> str:
    return (
        f"{count(one['n_needed'])} items of {count(one['clusters_needed'])} such templates for a power of "
        f"{found['power']:g} if {100 * found['gain']:g} % are gained and {100 * found['loss']:g} % lost, at "
        f"{100 * one['level']:g} % of the {100 * found['alpha']:g} % that all looks may spend; if items were "
        f"independent, {count(one['independent']['n_needed'])} by McNemar's exact test."
    )


def _alike(found: Row, one: Row) -> str:
    told = f"Items of a template are alike by {found['icc']:.2f} (the prior is {found['prior']:.2f}"
    if found["pilot"] is not None:
        told += f", the pilot of base conditions says {found['pilot']:.2f}; the larger counts"
    return f"{told}): a design effect of {one['design_effect']:.2f}."


def _best_of(found: Row) -> list[RenderableType]:
    if found["reason"]:
        return [_why(found["reason"])]
    table = plain_table("k>", "n>", "over one>", "95 %", "over k-1>", "95 %", "time>", "cost>")
    for row in found["by_k"]:
        cells: list[str] = []
        seconds = {"value": row["seconds"], "lo": None, "hi": None}
        for name in ("over_one", "over_last"):
            bounds = {"lo": row[f"{name}_lo"], "hi": row[f"{name}_hi"]}
            cells += [f"{row[f'{name}_nats']:+.3f}", _between(bounds, "{:.2f}".format)]
        table.add_row(str(row["k"]), count(row["n"]), *cells, _times(seconds)[0], dollars(row["usd"]))
    asked = f"The spec asks for {found['asked']}. " if found["asked"] else ""
    told = f"  {asked}By {one_line(str(found['critic']), 40)}; {found['about']}."
    return [table, Text(make_visible(told), style="dim")]


def _ablations(found: Row) -> list[RenderableType]:
    rows: list[RenderableType] = []
    if found["by_items"]:
        table = plain_table("items>", "shows d_z>", "time>", "95 %", "cost>", "95 %", "fit>", "at least>")
        for row in found["by_items"]:
            fit = (count(row["fit"]), count(row["fit_at_least"]))
            shows = f"{row['detectable_dz']:.2f}"
            table.add_row(count(row["items"]), shows, *_times(row["seconds"]), *_money(row["usd"]), *fit)
        needed = ", ".join(f"a {name} one {count(n)} items" for name, n in found["needed"].items())
        told = f"  Shown with a power of 0.8 by the paired t test of margins; after Cohen (1988) {needed}."
        rows += [table, Text(told, style="dim")]
    if found["reason"]:
        rows.append(_why(found["reason"]))
    if found["done"] or found["not_done"]:
        rows.append(Text(f"  {len(found['done'])} principles are ablated, {len(found['not_done'])} are not."))
    return rows


def _futility(found: Row) -> list[RenderableType]:
    looks = [(f"{look['before']} to {look['after']}", look) for look in found["looks"]]
    if found.get("interim"):
        looks.append(("as given", found["interim"]))
    rows: list[RenderableType] = []
    for name, look in looks:
        words, style = _ADVICE[look["advice"]]
        trend = ""
        if look["under_trend"] is not None:
            bounds = {"lo": look["trend_lo"], "hi": look["trend_hi"]}
            trend = f", by the trend {look['under_trend']:.2f} {_between(bounds, '{:.2f}'.format)}"
        told = f"  {name}: {look['gained']} gained, {look['lost']} lost in {count(look['n'])} of "
        told += f"{count(look['planned'])}; chance under the plan {look['under_plan']:.2f}{trend}: "
        rows.append(Text.assemble(told, (words, style)))
    return rows or [_why(found["reason"])]


def _allocation(found: Row) -> list[RenderableType]:
    if found["reason"]:
        return [_why(found["reason"])]
    table = plain_table("stage>", "needs>", "95 %", "gets>", "of its need>")
    for row in found["stages"]:
        if row["usd"] is None:
            table.add_row(str(row["stage"]), Text("?", style="yellow"))
        else:
            share = f"{100 * row['share']:.0f} %"
            table.add_row(str(row["stage"]), *_money(row["need"]), dollars(row["usd"]), share)
    rows: list[RenderableType] = [table]
    if found["unmeasured"]:
        names = ", ".join(map(str, found["unmeasured"]))
        told = f"  Not measured: stage {names}. {dollars(found['over_usd'])} is over for them."
        rows.append(Text(told, style="yellow"))
    return rows
