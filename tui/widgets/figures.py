"""The live figures: acceptance with its interval, throughput, forecast."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui.state import RunState
from tui.widgets.marks import QUIET, lines, percent, row, sparkline
from tui.wording import FINISHED, count

_ACCEPTING = (("instruction_judgements", "instructions"), ("response_judgements", "pairs"))


class LiveFigures(Static):
    def __init__(self) -> None:
        super().__init__(id="figures", classes="panel", markup=False)
        self.border_title = "Acceptance"

    def show(self, state: RunState) -> None:
        rows = [_acceptance(state, phase, label) for phase, label in _ACCEPTING]
        rows.append(_forecast(state, self.content_size.width))
        rows.append(self._throughput(state))
        self.update(lines(rows))

    def _throughput(self, state: RunState) -> Content:
        if not state.tokens_per_s:
            if state.state in FINISHED:
                return Content("")
            return row(("tokens/s     ", QUIET), ("shown once the model writes", QUIET))
        width = max(4, min(60, self.content_size.width - 24))
        rate = f"{state.tokens_per_s[-1]:7.1f} "
        return row(("tokens/s     ", QUIET), rate, (sparkline(state.tokens_per_s, width), "$accent"))


def _acceptance(state: RunState, phase: str, label: str) -> Content:
    measured = state.phase(phase).acceptance
    if measured is None:
        return row((f"{label:<13}", QUIET), ("none judged yet", QUIET))
    share, low, high = measured
    done = state.phase(phase).done
    interval = f"[{100 * low:.0f}–{100 * high:.0f}]"
    return row((f"{label:<13}", QUIET), (percent(share), "bold"), f" {interval:<8}", (f" n={done:,}", QUIET))


def _forecast(state: RunState, width: int) -> Content:
    forecast = state.forecast
    if state.state in FINISHED and state.target:
        return row(("accepted     ", QUIET), (f"{state.accepted:,}", "bold"), (f" of {state.target:,} wanted", QUIET))
    if forecast is None or forecast.needed is None:
        return row(("forecast     ", QUIET), ("after the first accepted pair", QUIET))
    span = f" [{count(forecast.needed_lo)}–{count(forecast.needed_hi)}]"
    return row(
        ("forecast     ", QUIET),
        (f"{forecast.candidates:,}/{forecast.needed:,}", "bold"),
        span,
        (" candidates" if width >= 46 else "", QUIET),
    )
