"""The live figures: acceptance with its interval, forecast, throughput, budget, and how busy the machine is."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from engine.core.figures import clock_text, count, percents_whole
from store.names import FINISHED
from tui.host.machine import Load
from tui.live.state import RunState
from tui.widgets.marks import QUIET, TONES, lines, percent, row, sparkline
from tui.words.facts import of_wanted

_ACCEPTING = (("instruction_judgements", "instructions"), ("response_judgements", "pairs"))
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
        accepting = [*_ACCEPTING, *(item for item in _PREFERRING if item[0] in state.phases)]
        if height and len(accepting) + 3 > height:  # the rail counts the others
            judged = [item for item in accepting if state.phase(item[0]).acceptance is not None]
            accepting = judged[-2:] or accepting[:2]
        rows = [_acceptance(state, phase, label) for phase, label in accepting]
        rows.append(_forecast(state, width))
        if (state.tokens_per_s or state.items_per_s) and state.state not in FINISHED:
            rows.append(_throughput(state, width))
        busy = _machine(load, width)
        rows += [_budget(state, price_per_hour, width), *(busy if len(rows) + 1 + len(busy) <= height else busy[-1:])]
        self.update(lines(rows[:height] if height else rows))


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
        told = f" ({target:,} wanted ✓)" if state.accepted > target else f" of {target:,} wanted"
        return row(("accepted     ", QUIET), (f"{state.accepted:,}", "bold"), (told, QUIET))
    if target and state.accepted >= target:
        told = f" {of_wanted(state.accepted, target)}"
        return row(("forecast     ", QUIET), ("reached", f"bold {TONES['good']}"), (told, QUIET))
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
    if not price_per_hour:
        later = "" if whole is None else f", about {clock_text(whole)} in all"
        line = row(("budget       ", QUIET), clock_text(elapsed), (later, QUIET))
        for how in (" · no price set: press , for settings", " · no price set"):
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
