"""The live figures: acceptance with its interval, forecast, throughput, budget, and how busy the machine is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content
from textual.widgets import Static

from engine.core.figures import NO_PRICE, clock_text, count, percents_whole
from store.names import FINISHED
from tui.host.machine import Load
from tui.live.state import RunState
from tui.widgets.marks import QUIET, TONES, lines, percent, row, sparkline
from tui.words.audits import GOOD, audit_behind, cost, share_among_accepted
from tui.words.facts import of_wanted

_ACCEPTING = (("instruction_judgements", "instructions"), ("response_judgements", "pairs"))
FOLLOWING = 4  # lines below what is accepted: forecast, throughput, budget, machine
_PREFERRING = (("revisions", "revisions"), ("pairs", "pref. pairs"))


class LiveFigures(Static):
    def __init__(self) -> None:
        super().__init__(id="figures", classes="panel", markup=False)
        self.border_title = "Acceptance, budget, machine"
        self._drawn: tuple[object, ...] = ()

    def show(self, state: RunState, load: Load | None, price_per_hour: float | None) -> None:
        now = (state.revision, state.state, int(state.elapsed_s), load, price_per_hour, self.content_size)
        if now == self._drawn:
            return
        self._drawn = now
        width, height = self.content_size.width, self.content_size.height
        accepting: Sequence[tuple[str, str]] = [*_ACCEPTING, *(item for item in _PREFERRING if item[0] in state.phases)]
        if height and len(accepting) + 3 > height:  # the rail counts the others
            judged = [item for item in accepting if state.phase(item[0]).acceptance is not None]
            accepting = judged[-2:] or accepting[:2]
        found, free = state.good_among_accepted, height - len(accepting) - FOLLOWING
        if found and height and free < 1:  # what the good ones are a share of, and what was spent once nothing runs
            accepting = _ACCEPTING[-1:] if state.state in FINISHED or height < FOLLOWING else _ACCEPTING
        rows = [_acceptance(state, phase, label) for phase, label in accepting]
        rows += _good_ones(found, width, free if height else 2 * len(found))
        rows.append(_forecast(state, width))
        if (state.tokens_per_s or state.items_per_s) and state.state not in FINISHED:
            rows.append(_throughput(state, width))
        busy = _machine(load, width)
        rows += [_budget(state, price_per_hour, width), *(busy if len(rows) + 1 + len(busy) <= height else busy[-1:])]
        self.update(lines(rows[:height] if height else rows))


def _good_ones(found: Sequence[Mapping[str, Any]], width: int, room: int) -> list[Content]:
    """The share of good ones among the accepted, of which audit, and what it costs; of pairs first where room is short.

    Two lines each where there is room, else one; at least one line is told.
    """
    shown = list(found)[-max(1, room) :]
    if room < 2 * len(shown):
        return [_good_line(one, width) for one in shown]
    rows = []
    for one in shown:
        behind, taken = audit_behind(one), cost(one)
        if not behind:
            rows.append(_good_line(one, width))
            continue
        rows.append(row((f"{GOOD[one['kind']]:<13}", QUIET), (share_among_accepted(one), "bold")))
        ways = [f"{' ' * 13}by {behind}", f"  by {behind}"]
        if taken:
            ways = [f"{ways[0]} · {taken} candidates taken", *(f"{way} · {taken}" for way in ways), *ways]
        rows.append(row((_first_fitting(ways, width), QUIET)))
    return rows


def _good_line(one: Mapping[str, Any], width: int) -> Content:
    name, share, behind, taken = GOOD[one["kind"]], share_among_accepted(one), audit_behind(one, short=True), cost(one)
    heads = (name, "good") if one["kind"] == "sample" else (name,)
    if not behind:
        told = _first_fitting([f"{name:<13}{share}", *(f"{head}: {share}" for head in heads)], width)
        return row((told[: -len(share)], QUIET), (share, TONES["warn"]))
    share = share.replace(" of ", " n=")
    ways = [f"{head} {share} {behind}{end}" for end in (f", {taken}", f" {taken}", "") for head in heads]
    told = _first_fitting(ways if taken else ways[2 * len(heads) :], width)
    if len(told) > width:
        share = share.partition(" n=")[0]
        told = f"{heads[-1]} {share} {behind}"
    head, _, tail = told.partition(share)
    return row((head, QUIET), (share, "bold"), (tail, QUIET))


def _first_fitting(ways: Sequence[str], width: int) -> str:
    return next((way for way in ways if len(way) <= width), ways[-1])


def _throughput(state: RunState, width: int) -> Content:
    """Tokens a second; a phase that only scores writes none, and its items are told instead."""
    if not state.writes:
        scored = "" if not state.items_per_s else f"   {state.items_per_s:.1f} scored/s"
        return row(("tokens/s     ", QUIET), "–", (scored, QUIET))
    rate = f"{state.tokens_per_s[-1]:7.1f} "
    drawn = sparkline(state.tokens_per_s, max(4, min(60, width - 24)))
    return row(("tokens/s     ", QUIET), rate, (drawn, "$accent"))


def _acceptance(state: RunState, phase: str, label: str) -> Content:
    measured = state.phase(phase).acceptance
    if measured is None:
        return row((f"{label:<13}", QUIET), ("none judged yet", QUIET))
    share, *bounds = measured
    n = f" n={state.phase(phase).done:,}"
    return row((f"{label:<13}", QUIET), (percent(share), "bold"), f" {percents_whole(*bounds):<8}", (n, QUIET))


def _forecast(state: RunState, width: int) -> Content:
    forecast, target = state.forecast, state.target
    if state.state in FINISHED and target:
        kind = state.headline
        tone = TONES["good"] if kind.shown else TONES["warn"]
        for told in (f" · {target:,} wanted", ""):
            for words in (kind.told, kind.short):
                if 13 + len(words) + len(told) <= width:
                    return row(("accepted     ", QUIET), (words, f"bold {tone}"), (told, QUIET))
        return row((kind.short, f"bold {tone}"))
    if target and state.accepted >= target:
        told = f" {of_wanted(state.accepted, target)}"
        tone = TONES["good" if state.headline.shown else "warn"]
        return row(("forecast     ", QUIET), ("reached", f"bold {tone}"), (told, QUIET))
    if forecast is None or forecast.needed is None:
        when = "when this wave is judged" if state.accepted else "after the first accepted pair"
        return row(("forecast     ", QUIET), (when, QUIET))
    done = f"{forecast.candidates:,}/{forecast.needed:,}"
    span = f" [{count(forecast.needed_lo)}–{count(forecast.needed_hi)}]"
    return row(("forecast     ", QUIET), (done, "bold"), span, (" candidates" if width >= 46 else "", QUIET))


def _budget(state: RunState, price_per_hour: float | None, width: int = 80) -> Content:
    """Spent so far, and what the target will have cost if the rest goes as the part so far did."""
    elapsed, forecast, whole = state.elapsed_s, state.forecast, None
    if forecast is not None and forecast.needed and forecast.candidates and state.state not in FINISHED:
        whole = elapsed * forecast.needed / forecast.candidates
    if price_per_hour is None:
        later = "" if whole is None else f", about {clock_text(whole)} in all"
        line = row(("budget       ", QUIET), clock_text(elapsed), (later, QUIET))
        for how in (f" · {NO_PRICE}: press , for settings", f" · {NO_PRICE}"):
            if line.cell_length + len(how) <= width:
                return Content.assemble(line, (how, QUIET))
        return line
    spent = price_per_hour * elapsed / 3600
    later = "" if whole is None else f" of about ${price_per_hour * whole / 3600:,.2f}"
    return row(("budget       ", QUIET), (f"${spent:,.2f}", "bold"), later, (f" at ${price_per_hour:g}/h", QUIET))


def _machine(load: Load | None, width: int) -> list[Content]:
    if load is None:
        return [row(("machine      ", QUIET), ("measured in a moment", QUIET))]
    memory = f"{load.used_gib:.1f}/{load.total_gib:.0f} GiB"
    tone = TONES["warn"] if load.used_gib > 0.9 * load.total_gib else ""
    line = row(("machine      ", QUIET), f"CPU {100 * load.cpu:3.0f} %", ("  memory ", QUIET), (memory, tone))
    for more in ("" if load.gpus else "  no GPU", f" (own {load.own_gib:.1f})"):
        if line.cell_length + len(more) <= width:
            line = Content.assemble(line, (more, QUIET))
    rows = [line]
    for number, (busy, used, total) in enumerate(load.gpus):
        full = TONES["warn"] if used > 0.95 * total else ""
        rows.append(row((f"GPU {number:<9}", QUIET), f"{100 * busy:3.0f} %", (f"  {used:.1f}/{total:.0f} GiB", full)))
    return rows
