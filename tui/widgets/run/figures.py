"""The live figures: acceptance by kind with intervals, forecast, end, throughput, cost, and how busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from textual.content import Content
from textual.widgets import Static

from engine.core.figures import NO_PRICE, clock_text, count, dollars, format_seconds, percents_whole
from engine.core.nvidia import GpuLoad
from engine.stats.shares import wilson
from store.names import FINISHED
from tui.host.machine import Load
from tui.live.state import RunState
from tui.reads.run import RunFacts
from tui.widgets.marks import QUIET, TONES, lines, percent, row, share_bar, sparkline
from tui.words.audits import GOOD, audit_behind, cost, share_among_accepted
from tui.words.facts import of_wanted
from tui.words.text import one_line
from tui.words.wording import phase_title

_JUDGED = (  # phase, label, kind of subject, and how much it matters where room is short
    ("instruction_judgements", "instructions", "instruction", 4),
    ("response_judgements", "responses", "sample", 0),
    ("revisions", "revisions", "revision", 3),
    ("pairs", "pref. pairs", "pair", 1),
)
_COMMON = 2  # of those, in every run
_BAR_AT_LEAST, _BAR_AT_MOST = 5, 24  # cells
_NAME, _LONG_NAME = 13, 24  # cells for what a figure is of; the longer ones name a source
_WIDE = 66  # cells, from which all shares stand as the longest need it
_NAMED_FROM = 42  # cells, below which memory stands without its name
_DAY_S = 86_400 / 2  # from which the hour alone does not say which day


class LiveFigures(Static):
    """Where there is no line for each figure, those that matter least are left out."""

    def __init__(self) -> None:
        super().__init__(id="figures", classes="panel", markup=False)
        self.border_title = "Acceptance, time, cost"
        self._drawn: tuple[object, ...] = ()

    def show(self, state: RunState, facts: RunFacts, load: Load | None, price_per_hour: float | None) -> None:
        now = (state.revision, state.state, int(state.elapsed_s), facts, load, price_per_hour, self.content_size)
        if now == self._drawn:
            return
        self._drawn = now
        width, height = self.content_size.width, self.content_size.height
        kinds = _by_kind(facts, width)
        named = _NAME if not kinds or width < _WIDE else _LONG_NAME
        first = [
            (matters, _acceptance(state, facts, phase, label, kind, width, named))
            for at, (phase, label, kind, matters) in enumerate(_JUDGED)
            if at < _COMMON or phase in state.phases
        ]
        first += [(9, line) for line in kinds]
        last = [(0, _forecast(state, width))]
        if (ends := _ends(state, width)) is not None:
            last.append((1, ends))
        gpus = state.gauges.gpus or (load.gpus if load is not None else ())
        if (state.gauges.tokens_per_s or state.gauges.items_per_s) and state.state not in FINISHED:
            last.append((2 if gpus else 5, _throughput(state, width)))
        last += [(1, _budget(state, price_per_hour, width)), (3 if gpus else 2, _each(state, price_per_hour))]
        if gpus:
            last.append((2, _gpus(gpus, width)))
            last += [(7, _gpu(number, one)) for number, one in enumerate(gpus) if len(gpus) > 1]
        last.append((6, _machine(load, bool(gpus), width)))
        found = state.good_among_accepted
        free = height - len(first) - len(last)
        good = _good_ones(found, width, free if height else 2 * len(found)) if found else []
        rows = [*first, *((1, line) for line in good), *last]
        self.update(lines(_fitting(rows, height) if height else [line for _, line in rows]))


def _fitting(rows: Sequence[tuple[int, Content]], height: int) -> list[Content]:
    """Those lines that matter most, as many as there is room for, each where it stood."""
    kept = sorted(sorted(range(len(rows)), key=lambda at: rows[at][0])[:height])
    return [rows[at][1] for at in kept]


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
    gauges = state.gauges
    if not gauges.writes:
        scored = "" if not gauges.items_per_s else f"   {gauges.items_per_s:.1f} scored/s"
        return row(("tokens/s     ", QUIET), "–", (scored, QUIET))
    rate = f"{gauges.tokens_per_s[-1]:7.1f} "
    drawn = sparkline(gauges.tokens_per_s, max(4, min(60, width - 24)))
    return row(("tokens/s     ", QUIET), rate, (drawn, "$accent"))


def _acceptance(state: RunState, facts: RunFacts, phase: str, label: str, kind: str, width: int, named: int) -> Content:
    """From the rows as they were read last, or from what the phase has told since."""
    known, told = facts.judged.get(kind, (0, 0)), state.phase(phase)
    if told.accepted is not None and told.done > known[0]:
        known = (told.done, told.accepted)
    if not known[0]:
        return row((f"{label:<{named}}", QUIET), ("none judged yet", QUIET))
    return _share(label, *known, width, named)


def _share(label: str, n: int, accepted: int, width: int, named: int) -> Content:
    """The share that was accepted, with its interval and n, and both as a small bar where there is room for it."""
    share, (low, high) = accepted / n, wilson(accepted, n)
    told = row((percent(share), "bold"), f" {percents_whole(low, high):<8}", (f" n={n:,}", QUIET))
    named = min(named, max(_NAME, width - told.cell_length))
    room = min(_BAR_AT_MOST, width - named - 1 - max(24, told.cell_length))
    bar = row((share_bar(share, low, high, room), "$accent"), " ") if room >= _BAR_AT_LEAST else ""
    return row((f"{one_line(label, named - 1):<{named}}", QUIET), bar, told)


def _by_kind(facts: RunFacts, width: int) -> list[Content]:
    """Candidates and pairs by their source, as far as something decided them."""
    return [
        _share(f" {kind} {source.replace('_', ' ')}", judged, accepted, width, _LONG_NAME)
        for kind, by in (("candidate", facts.candidates), ("pair", facts.pairs))
        for source, (_, judged, accepted) in by.items()
        if judged
    ]


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


def _ends(state: RunState, width: int) -> Content | None:
    """When what is going on will have ended, if the rest of it goes as the part so far did; None where nothing is."""
    if not state.active:
        return None
    left, what = _left(state)
    if left is None:
        return row(("ends         ", QUIET), ("not known yet", QUIET))
    at = datetime.fromtimestamp(time.time() + left)
    line = row(("ends         ", QUIET), (f"in {clock_text(left)}", "bold"))
    for more in (f" about {at:%H:%M}" if left < _DAY_S else f" about {at:%a %H:%M}", f" · {what}"):
        if what and line.cell_length + len(more) <= width:
            line = Content.assemble(line, (more, QUIET))
    return line


def _left(state: RunState) -> tuple[float | None, str]:
    """Seconds left, and of what: of the training, of the data as the forecast has it, or of the phase at work."""
    phase = state.current_phase or ""
    if state.trains:
        training = state.trainings.of(phase)
        return (None if training is None else training.eta_s), "the training"
    forecast = state.forecast
    if forecast is not None and forecast.needed and forecast.candidates and state.accepted < (state.target or 0):
        left = state.elapsed_s * (forecast.needed / forecast.candidates - 1)
        return max(0.0, left), "then pairs" if "pairs" in state.phases else "target met"
    running = [one for one in state.phases.values() if one.state == "running" and one.eta_s is not None]
    last = max(running, key=lambda one: one.eta_s or 0.0, default=None)  # of those that are side by side
    return (None, phase_title(phase)) if last is None else (last.eta_s, phase_title(last.name))


def _each(state: RunState, price_per_hour: float | None) -> Content:
    """What one accepted example has taken so far: money where there is a price, and time."""
    label = ("per accepted ", QUIET)
    if not state.accepted:
        return row(label, ("nothing accepted yet", QUIET))
    took = state.elapsed_s / state.accepted
    if price_per_hour is None:
        return row(label, format_seconds(took), (f" · {NO_PRICE}", QUIET))
    return row(label, (dollars(price_per_hour * took / 3600), "bold"), (f" · {format_seconds(took)}", QUIET))


def _budget(state: RunState, price_per_hour: float | None, width: int = 80) -> Content:
    """Spent so far, and what the target will have cost if the rest goes as the part so far did."""
    elapsed, forecast, whole = state.elapsed_s, state.forecast, None
    if forecast is not None and forecast.needed and forecast.candidates and state.state not in FINISHED:
        whole = elapsed * forecast.needed / forecast.candidates
    if price_per_hour is None:
        later = "" if whole is None else f" of about {clock_text(whole)}"
        line = row(("cost         ", QUIET), clock_text(elapsed), (later, QUIET))
        for how in (f" · {NO_PRICE}: press , for settings", f" · {NO_PRICE}"):
            if line.cell_length + len(how) <= width:
                return Content.assemble(line, (how, QUIET))
        return line
    spent = price_per_hour * elapsed / 3600
    later = "" if whole is None else f" of about ${price_per_hour * whole / 3600:,.2f}"
    return row(("cost         ", QUIET), (f"${spent:,.2f}", "bold"), later, (f" at ${price_per_hour:g}/h", QUIET))


def _machine(load: Load | None, has_gpu: bool, width: int) -> Content:
    if load is None:
        return row(("machine      ", QUIET), ("measured in a moment", QUIET))
    memory, name = f"{load.used_gib:.1f}/{load.total_gib:.0f} GiB", "  memory " if width >= _NAMED_FROM else "  "
    tone = TONES["warn"] if load.used_gib > 0.9 * load.total_gib else ""
    line = row(("machine      ", QUIET), f"CPU {100 * load.cpu:3.0f} %", (name, QUIET), (memory, tone))
    for more in ("" if has_gpu else "  no GPU", f" (own {load.own_gib:.1f})"):
        if line.cell_length + len(more) <= width:
            line = Content.assemble(line, (more, QUIET))
    return line


def _gpus(gpus: Sequence[GpuLoad], width: int) -> Content:
    """All GPUs in a line: how busy, memory and power together, the hottest one's temperature; what fits of it."""
    shares = [one.busy for one in gpus if one.busy is not None]
    busy = f"{100 * sum(shares) / len(shares):.0f} %" if shares else "– %"
    least = f"{100 * min(shares):.0f} %" if len(shares) > 1 else ""
    used, total = sum(one.used_mib for one in gpus) / 1024, sum(one.total_mib for one in gpus) / 1024
    memory = f"{used:.1f}/{total:.0f} GiB" if len(gpus) == 1 else f"{used:.0f}/{total:.0f} GiB"
    label = "GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"
    told = [busy, f"(least {least})", memory, _power(gpus), _hottest(gpus)]
    if not least:
        del told[1]
    short = [f"({least})" if "least" in one else one for one in told]
    ways = [told, told[:-1], short[:-1], short[:-2], short[:1]]
    heads = ((f"{label:<13}", "  "), (f"{label} ", " "))
    ways_told = [f"{head}{gap.join(filter(None, way))}" for way in ways for head, gap in heads]
    line = _first_fitting(ways_told, width)
    before, memory, after = line.removeprefix(label).partition(memory)
    full = TONES["warn"] if used > 0.95 * total else ""
    return row((label, QUIET), (before, "bold"), (memory, full), (after, QUIET))


def _gpu(number: int, one: GpuLoad) -> Content:
    busy = "  –" if one.busy is None else f"{100 * one.busy:3.0f}"
    memory = f"  {one.used_mib / 1024:.1f}/{one.total_mib / 1024:.0f} GiB"
    full = TONES["warn"] if one.used_mib > 0.95 * one.total_mib else ""
    return row((f" GPU {number:<8}", QUIET), f"{busy} %", (memory, full), (f"  {_power([one])}", QUIET))


def _power(gpus: Sequence[GpuLoad]) -> str:
    watts = [one.watts for one in gpus if one.watts is not None]
    if not watts:
        return ""
    return f"{sum(watts):.0f} W" if sum(watts) < 1000 else f"{sum(watts) / 1000:.1f} kW"


def _hottest(gpus: Sequence[GpuLoad]) -> str:
    known = [one.celsius for one in gpus if one.celsius is not None]
    return f"{max(known):.0f} °C" if known else ""
