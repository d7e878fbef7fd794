"""The figures of one phase: near-duplicates, lengths, margins or checks, whichever it is about."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content
from textual.widgets import Static

from tui.facts import wilson
from tui.query_run import RunFacts
from tui.state import RunState
from tui.text import one_line
from tui.widgets.histogram import draw, draw_lengths
from tui.widgets.marks import QUIET, TONES, lines, percent, row, sparkline

_JUDGED = {"instruction_judgements": "instruction", "response_judgements": "sample"}


class PhasePanel(Static):
    """What it draws depends on the phase that is chosen, or on the one at work."""

    def __init__(self) -> None:
        super().__init__(id="histogram", classes="panel", markup=False)
        self.border_title = "Margins"
        self._drawn: tuple[object, ...] = ()

    def show(
        self, state: RunState, phase: str, critic: tuple[str, str] | None, facts: RunFacts, *, following: bool
    ) -> None:
        now = (state.run_id, phase, critic, facts, self.content_size, following, state.revision)
        if now == self._drawn:
            return
        self._drawn = now
        width, height = max(16, self.content_size.width), max(4, self.content_size.height)
        how = "follows the run" if following else "Esc follows the run"
        if phase == "instructions":
            self.border_title, self.border_subtitle = "Instructions", f"j k phase · {how}"
            self.update(_instructions(facts, width, height))
        elif phase == "responses":
            self.border_title, self.border_subtitle = "Response lengths in tokens", f"j k phase · {how}"
            self.update(_lengths(facts, width, height))
        else:
            self._margins(state, phase, critic, width, height)

    def _margins(self, state: RunState, phase: str, critic: tuple[str, str] | None, width: int, height: int) -> None:
        if critic is None or not state.margins.get(critic):
            self.border_title, self.border_subtitle = "Margins", ""
            self.update(row(("A histogram of critic margins appears with the first judgement.", QUIET)))
            return
        threshold = state.threshold(*critic)
        scores = list(state.margins[critic])
        kept = sum(score >= threshold for score in scores) if threshold is not None else None
        self.border_title = Content(f"Margins · {critic[0]} · {critic[1]}")
        power = "filters" if threshold is not None else "unaudited: stored, filters nothing"
        self.border_subtitle = f"{power} · c next critic" if len(state.margins) > 1 else power
        over_time = _over_time(state, phase, width)
        picture = draw(scores, threshold, width, max(4, height - len(over_time)), kept)
        self.update(lines([*over_time, picture]))


def _over_time(state: RunState, phase: str, width: int) -> list[Content]:
    """Acceptance so far against items judged, with the interval that it has now."""
    marks = state.acceptance.get(phase)
    if phase not in _JUDGED or not marks or len(marks) < 2:
        return []
    shares = [accepted / done for done, accepted in marks if done]
    done, accepted = marks[-1]
    low, high = wilson(accepted, done)
    told = f"{100 * shares[-1]:.0f} % [{100 * low:.0f}–{100 * high:.0f}] of {done:,}"
    room = max(8, width - len(told) - 10)
    step = max(1, len(shares) // room)
    return [row(("accepted ", QUIET), (sparkline(shares[::step], room, top=1.0), "$accent"), " ", (told, "bold"))]


def _instructions(facts: RunFacts, width: int, height: int) -> Content:
    total = sum(facts.statuses.values())
    if not total:
        return row(("Candidates are counted here once the first list is written.", QUIET))
    distinct = facts.statuses.get("distinct", 0)
    share = percent(distinct / total)
    rows = [row(("distinct      ", QUIET), (f"{distinct:,}", "bold"), f" of {total:,} candidates {share}")]
    rest = [(name, n) for name, n in facts.statuses.items() if name != "distinct"]
    rows += [row((f"{one_line(name, 13):<14}", QUIET), f"{n:,}", (percent(n / total), QUIET)) for name, n in rest]
    if facts.duplicates:
        rows.append(row(("most frequent near-duplicates", f"{QUIET} underline")))
        rows += [row((f"{n:>4} × ", "bold"), one_line(text, max(10, width - 7))) for n, text in facts.duplicates]
    return lines(rows[:height])


def _lengths(facts: RunFacts, width: int, height: int) -> Content:
    total = sum(facts.lengths.values())
    if not total:
        return row(("Lengths are drawn here once the first responses are written.", QUIET))
    at_limit = facts.stops.get("length", 0)
    low, high = wilson(at_limit, total)
    told = row(
        (f"{total:,} responses", "bold"),
        f" · median {_median(facts.lengths)}",
        (f" · at the limit {100 * at_limit / total:.1f} % [{100 * low:.0f}–{100 * high:.0f}]", TONES["warn"]),
    )  # fmt: skip
    return lines([told, draw_lengths(facts.lengths, facts.limit, width, max(4, height - 1))])


def _median(lengths: Mapping[int, int]) -> int:
    half, seen = sum(lengths.values()) / 2, 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= half:
            return length
    return 0
