"""One wave: new instructions taken through judgement, response and judgement, each as soon as its turn can come.

Which rows a wave makes follows from the rows before it: the first `wanted` instructions by their place, in whatever
order they are judged and answered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from engine.critics.audit import Calibrated
from engine.phases.flow import Flow, Lane, Row, Tally
from engine.phases.instructions import Instructions
from engine.phases.judgements import accepting, missing
from engine.phases.responses import responding, unanswered
from engine.phases.work import Work
from engine.quality.gates import Decision

PHASES = ("instructions", "instruction_judgements", "responses", "response_judgements")


class Wave:
    """Takes a run to `wanted` distinct instructions through some first `phases` of these four.

    `upto` is the place of the last of them, `taken` how many there are, `accepted` how many samples were accepted of
    these and those before them, `judged` how many instructions have a verdict by now.
    """

    def __init__(
        self,
        work: Work,
        instructions: Instructions,
        critics: Mapping[str, Sequence[Calibrated]],
        wanted: int,
        at_most: int,
        phases: Sequence[str] = PHASES,
    ) -> None:
        self._work = work
        self._instructions = instructions
        self._wanted, self._at_most = wanted, at_most
        self.taken, self.upto = 0, -1
        self._flow = flow = Flow(work)
        self._tallies = [flow.phase(name, wanted if n < 2 else 0) for n, name in enumerate(phases)]
        self._judging: Lane | None = None
        self._answering: Lane | None = None
        self._judging_samples: Lane | None = None
        flow.add(instructions.lane(self._tallies[0], wanted, at_most, self._open))
        if len(phases) > 1:
            self._judging = accepting(work, "instruction", critics["instruction"], self._tallies[1], self._judged)
            flow.add(self._judging)
        if len(phases) > 2:
            lanes = responding(work, critics["sample"], self._tallies[2], self._answered)
            self._answering = lanes[0]
            flow.add(*lanes)
        if len(phases) > 3:
            self._judging_samples = accepting(work, "sample", critics["sample"], self._tallies[3], self._settled)
            flow.add(self._judging_samples)
        self._open()

    @property
    def judged(self) -> int:
        return self._tallies[1].done if len(self._tallies) > 1 else 0

    @property
    def accepted(self) -> int:
        return (self._tallies[3].accepted or 0) if len(self._tallies) > 3 else 0

    def run(self) -> None:
        """Raises what a flow raises, and NothingParsed."""
        self._flow.run()

    def _open(self) -> None:
        """Let the instructions that are there by now, at most those that are wanted, and their samples go on."""
        after = self.upto
        self.taken = min(self._wanted, self._instructions.distinct)
        self.upto = self._instructions.place(self.taken)
        if self._judging is not None:
            last = self._instructions.distinct >= self._wanted or self._instructions.considered >= self._at_most
            self._tallies[1].planned = self.taken if last else self._wanted
        if self.upto > after:
            # Of a run that goes on some may be decided or answered already.
            if self._judging is not None:
                self._judging.put(missing(self._work, "instruction", self._tallies[1], after, self.upto))
            if self._answering is not None:
                self._answering.put(unanswered(self._work, self._tallies[2], after, self.upto))
            if self._judging_samples is not None:
                self._judging_samples.put(missing(self._work, "sample", self._tallies[3], after, self.upto))
        self._expect()

    def _expect(self) -> None:
        """How many will be answered: those that are accepted, and of the rest as many as so far."""
        if self._judging is None:
            return
        judged = self._tallies[1]
        accepted, left = judged.accepted or 0, max(judged.planned - judged.done, 0)
        for tally in self._tallies[2:]:
            tally.planned = accepted + math.ceil(left * (accepted + 1) / (judged.done + 2))

    def _judged(self, decided: Sequence[tuple[Row, Decision]]) -> None:
        accepted = [row for row, decision in decided if decision.verdict == "accepted"]
        _count(self._tallies[1], decided)
        self._expect()
        if self._answering is not None:
            self._answering.put(
                {"instruction_id": row["id"], "ordinal": row["ordinal"], "text": row["instruction"]} for row in accepted
            )

    def _answered(self, samples: Sequence[Row]) -> None:
        if self._judging_samples is not None:
            self._judging_samples.put({**row, "id": row["sample_id"]} for row in samples)

    def _settled(self, decided: Sequence[tuple[Row, Decision]]) -> None:
        _count(self._tallies[3], decided)


def _count(tally: Tally, decided: Sequence[tuple[Row, Decision]]) -> None:
    tally.done += len(decided)
    tally.accepted = (tally.accepted or 0) + sum(decision.verdict == "accepted" for _, decision in decided)
    tally.tell()
