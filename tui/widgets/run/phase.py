"""The figures of one phase: near-duplicates, lengths, margins or checks, whichever it is about."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from textual.content import Content
from textual.widgets import Static

from engine.core.figures import clock_text, percents_whole
from engine.stats.shares import wilson
from store.names import TRAINED
from tui.live.state import RunState
from tui.live.trainings import TrainingState
from tui.reads.run import RunFacts
from tui.widgets.histogram import draw, draw_lengths
from tui.widgets.marks import QUIET, TONES, lines, percent, row, sparkline
from tui.words.facts import GateTold
from tui.words.text import one_line
from tui.words.wording import RESULTS, names, phase_title

_JUDGED = frozenset({"instruction_judgements", "response_judgements", "revisions", "pairs"})
JUDGED_THERE = {"revisions": "revision", "candidates": "candidate", "pairs": "pair", "pair_gate": "pair"}
_TITLES = {
    "revisions": "Revisions", "candidates": "Candidates by source", "pairs": "Preference pairs",
    "pair_gate": "Gate of preference pairs",
}  # fmt: skip
HISTOGRAM_ROWS = 5  # below that it says nothing


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
        elif phase in TRAINED:
            self.border_title, self.border_subtitle = f"Training · {phase_title(phase)}", f"j k phase · {how}"
            self.update(lines(_trained(state.trainings.of(phase), width)[:height]))
        elif phase in JUDGED_THERE:
            self.border_title, self.border_subtitle = _TITLES[phase], f"j k phase · {how}"
            self._preferred(state, phase, critic, facts, width, height)
        else:
            self._margins(state, phase, critic, width, height)

    def _margins(self, state: RunState, phase: str, critic: tuple[str, str] | None, width: int, height: int) -> None:
        decided = [
            _gate_line(*gate) for gate in state.gates.items() if phase == "gate" and not gate[0].endswith(" pairs")
        ]
        if critic is None or not state.margins.get(critic):
            self.border_title, self.border_subtitle = "Margins", ""
            self.update(
                lines([*decided, row(("A histogram of critic margins appears with the first judgement.", QUIET))])
            )
            return
        threshold = state.threshold(*critic)
        scores = list(state.margins[critic])
        kept = sum(score >= threshold for score in scores) if threshold is not None else None
        self.border_title = Content(f"Margins · {critic[0]} · {critic[1]}")
        power = "filters" if threshold is not None else "unaudited: stored, filters nothing"
        self.border_subtitle = f"{power} · c next critic" if len(state.margins) > 1 else power
        over_time = [*decided, *_over_time(state, phase, width)]
        picture = draw(scores, threshold, width, max(4, height - len(over_time)), kept)
        self.update(lines([*over_time, picture]))

    def _preferred(
        self, state: RunState, phase: str, critic: tuple[str, str] | None, facts: RunFacts, width: int, height: int
    ) -> None:
        """How many there are and how many were kept, what spoke against the others, and a critic's margins in nats."""
        rows = _over_time(state, phase, width) or _kept(state, phase)
        if phase == "pair_gate":
            rows += [_gate_line(name, told) for name, told in state.gates.items() if name.endswith(" pairs")]
        if phase == "candidates":
            rows += _by_source(facts.candidates, "drawn", width, height)
        elif phase != "revisions":
            rows += _by_source(facts.pairs, "made", width, height)
        flags = facts.flags.get(JUDGED_THERE[phase], {})
        if flags:
            told = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in flags.items())
            rows.append(row(("rejected for ", QUIET), one_line(told, max(10, width - 13))))
        margins = facts.nats.get(critic, ()) if critic is not None and phase in ("revisions", "pairs") else ()
        if critic is not None and margins and height - len(rows) >= HISTOGRAM_ROWS:
            self.border_title = Content(f"{_TITLES[phase]} · nats of {critic[0]}, {critic[1]}")
            self.border_subtitle = "c next critic · j k phase"
            rows.append(draw(margins, None, width, height - len(rows), None, nats=True))
        elif phase in ("revisions", "pairs"):
            rows += [_margin_line(*key, values) for key, values in facts.nats.items() if key[1] == JUDGED_THERE[phase]]
        self.update(
            lines(rows[:height]) if rows else row(("Nothing is there yet: it is counted here as it comes.", QUIET))
        )


def _trained(one: TrainingState | None, width: int) -> list[Content]:
    """The figures of the last step; the room Training has all of them as curves."""
    if one is None or one.loss is None:
        return [row(("5 shows its curves and its adapter.", QUIET))]
    shown = sparkline(list(one.losses), max(8, width - 18))
    rows = [
        row((f"step {one.step:,} of {one.planned:,}", "bold"), (f" · {one.examples:,} examples", QUIET)),
        row(("loss      ", QUIET), (f"{one.loss:.4f} ", "bold"), (shown, "$accent")),
    ]
    told: tuple[tuple[str, str, float | None], ...] = (
        ("held-out", "{:.4f}", one.heldout_loss),
        ("margin", "{:+.3f}", one.reward_margin),
        ("tokens/s", "{:,.0f}", one.tokens_per_s),
        ("memory", "{:.1f} GiB", None if one.memory_bytes is None else one.memory_bytes / 2**30),
    )
    rows += [row((f"{name:<10}", QUIET), words.format(value)) for name, words, value in told if value is not None]
    if one.eta_s is not None:
        rows.append(row(("left      ", QUIET), clock_text(one.eta_s)))
    return [*rows, row(("5 shows its curves.", QUIET))]


def _margin_line(critic: str, _kind: str, nats: Sequence[float]) -> Content:
    """A histogram in a line."""
    above = sum(value > 0 for value in nats)
    told = f" median {statistics.median(nats):+.3f}, {above:,}/{len(nats):,} > 0"
    return row((f"{one_line(critic, 12)}", QUIET), told)


def _kept(state: RunState, phase: str) -> list[Content]:
    known = state.phases.get(phase)
    if known is None or known.acceptance is None:
        return []
    share, low, high = known.acceptance
    what = "pairs decided on" if phase in ("pairs", "pair_gate") else phase_title(phase).lower()
    told = f"{100 * share:.0f} % {percents_whole(low, high)} of {known.done:,} {what}"
    return [row(("kept ", QUIET), (told, "bold"))]


def _gate_line(name: str, gate: GateTold) -> Content:
    shape, word, tone = RESULTS[gate.result]
    failed = f"  {names(gate.failed)}" if gate.failed else ""
    return row(
        (f"{shape} {name} {word}", f"bold {TONES[tone]}"), failed, (f"  {gate.told}" if gate.told else "", QUIET)
    )


def _by_source(found: Mapping[str, tuple[int, int, int]], made_word: str, width: int, height: int) -> list[Content]:
    """Each source with what was made of it and the share that was kept, where something decided that.

    Where there is no line for each, those that nothing decided stand two in a line.
    """
    rows = []
    pairs = [(source, made) for source, (made, judged, _) in found.items() if not judged] if len(found) > height else []
    for source, (made, judged, accepted) in found.items():
        if pairs and not judged:
            continue
        low, high = wilson(accepted, judged)
        share = f"{100 * accepted / judged:.0f} % {percents_whole(low, high)}" if judged else ""
        wide = width >= 50
        name = 20 if wide else max(10, width - 20)
        told = row((f"{one_line(source.replace('_', ' '), name - 1):<{name}}", QUIET), (f"{made:>6,}", "bold"))
        kept = f" {made_word}{', kept ' if share else ''}" if wide else " "
        rows.append(row(told, (kept, QUIET), share))
    half = (width - 2) // 2
    short = [
        row((f"{one_line(source.replace('_', ' '), half - 5):<{half - 4}}", QUIET), f"{n:>4,}") for source, n in pairs
    ]
    return rows + [Content("  ").join(short[at : at + 2]) for at in range(0, len(short), 2)]


def _over_time(state: RunState, phase: str, width: int) -> list[Content]:
    """Acceptance so far against items judged, with the interval that it has now."""
    marks = state.acceptance.get(phase)
    if phase not in _JUDGED or not marks or len(marks) < 2:
        return []
    shares = [accepted / done for done, accepted in marks if done]
    done, accepted = marks[-1]
    low, high = wilson(accepted, done)
    told = f"{100 * shares[-1]:.0f} % {percents_whole(low, high)} of {done:,}"
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
        (f" · at the limit {100 * at_limit / total:.1f} % {percents_whole(low, high)}", TONES["warn"]),
    )  # fmt: skip
    return lines([told, draw_lengths(facts.lengths, facts.limit, width, max(4, height - 1))])


def _median(lengths: Mapping[int, int]) -> int:
    half, seen = sum(lengths.values()) / 2, 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= half:
            return length
    return 0
