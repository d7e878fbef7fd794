"""What phases have yet to ask, put before one model together: what follows from an answer is asked in its turn.

Where the model computes in another process all lanes are asked side by side, so that its device has work while one
phase waits for its last answers. Where the device is in this process nothing goes on while another phase is asked:
there lanes are asked one after the other, with batches as large as rows allow. Rows and requests are the same either
way.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from engine.core.events import PhaseFinished, PhaseProgressed, PhaseStarted
from engine.models.answers import Answered, Answers
from engine.models.requests import Generate, Score, Scored
from engine.phases.work import Work
from store.salvage.clock import utc_now

ROWS = 32  # taken from a lane at once where lanes are asked side by side
APART = 64  # requests that need the model for themselves, asked together while it has enough else to do

Row = Mapping[str, Any]
Request = Generate | Scored


class Tally:
    """How far a phase is, told as events.

    `seconds` is the phase's part of the time that its flow took: where several are under way, each second is divided
    among them by the requests that each has with the model.
    """

    def __init__(self, work: Work, phase: str, planned: int, at_end: Callable[[], None] | None) -> None:
        self._work = work
        self._at_end = at_end
        self.phase = phase
        self.planned = planned
        self.done = 0
        self.accepted: int | None = None
        self.seconds = 0.0
        self.begun = self.ended = False

    def begin(self) -> None:
        """Tell that the phase begins, once."""
        if not self.begun:
            self.begun = True
            self._work.emit(PhaseStarted(self._work.run_id, self.phase, self.planned))

    def tell(self) -> None:
        """Tell how far it is."""
        self.begin()
        self._work.emit(PhaseProgressed(self._work.run_id, self.phase, self.done, self.planned, self.accepted))

    def end(self) -> None:
        """Tell that nothing is left."""
        self.begin()
        if self._at_end is not None:
            self._at_end()
        self.ended = True
        self._work.emit(PhaseFinished(self._work.run_id, self.phase, self.done, self.accepted))

    def metric(self) -> dict[str, Any]:
        """A row of the table `metrics` that says how long it took."""
        about = {"run_id": self._work.run_id, "session_id": self._work.session_id, "phase": self.phase}
        return about | {"name": "elapsed_s", "value": self.seconds, "at": utc_now()}


class Lane:
    """Rows that wait for requests of one kind, and what becomes of the answers.

    `ask` makes the requests of some rows, of which there may be none; `told` is given answers once they are committed.
    A lane that `writes` asks for texts, in one stream; another's requests are scored `size` rows at a time. Where the
    device is in this process, the phase's next lane has it after `burst` rows. Rows have their name under `key`: one
    that was put before is left out.
    """

    def __init__(
        self,
        tally: Tally,
        ask: Callable[[list[Any]], Iterable[Request]],
        told: Callable[[Sequence[Answered]], None],
        *,
        writes: bool = True,
        size: int = 1,
        burst: int | None = None,
        key: str | None = None,
    ) -> None:
        self.tally = tally
        self.ask = ask
        self.told = told
        self.writes = writes
        self.size = size
        self.burst = burst
        self.waiting: deque[Request] = deque()  # for a model that computes beside this process
        self.under_way = 0
        self._key = key
        self._put: set[str] = set()
        self._sources: deque[Iterator[Any]] = deque()

    @property
    def empty(self) -> bool:
        """Whether nothing waits and nothing is under way, as far as rows were read."""
        return not (self._sources or self.waiting or self.under_way)

    def put(self, rows: Iterable[Any]) -> None:
        """Have rows wait; they are read as they are taken."""
        self._sources.append(iter(rows))

    def take(self, n: int) -> list[Any]:
        """The next rows, at most n."""
        rows: list[Any] = []
        while self._sources and len(rows) < n:
            row = next(self._sources[0], None)
            if row is None:
                self._sources.popleft()
            elif self._key is None:
                rows.append(row)
            elif (name := row[self._key]) not in self._put:
                self._put.add(name)
                rows.append(row)
        return rows


class Flow:
    """Phases and their lanes, in the order in which rows come from one to the next."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._answers: Answers = work.answers
        self._tallies: list[Tally] = []
        self._lanes: list[Lane] = []
        self._owners: dict[Request, list[Lane]] = {}  # whom an answer is for
        self._apart: list[Scored] = []
        self._since = time.monotonic()  # what lanes read before they are asked counts, too

    def phase(self, name: str, planned: int = 0, at_end: Callable[[], None] | None = None) -> Tally:
        """A phase behind those that there are; `at_end` is done once all its rows are there."""
        self._tallies.append(Tally(self._work, name, planned, at_end))
        return self._tallies[-1]

    def add(self, *lanes: Lane) -> None:
        """Lanes behind those that there are; those of one phase stand together."""
        self._lanes += lanes

    def run(self) -> None:
        """Ask until nothing waits and nothing is under way. Raises Interrupted, ModelError and what lanes raise."""
        self._work.control.check()
        try:
            if self._answers.beside:
                self._side_by_side()
            else:
                self._in_turn()
        finally:
            if self._answers.beside:
                self._share(self._passed())
            self._work.store.append({"metrics": [tally.metric() for tally in self._tallies if tally.begun]})

    # -- the device is in this process -------------------------------------------------------------------------------

    def _in_turn(self) -> None:
        for tally in self._tallies:
            self._work.control.check()
            tally.begin()
            lanes = [lane for lane in self._lanes if lane.tally is tally]
            try:
                while sum(map(self._drained, lanes)):
                    pass
                tally.end()
            finally:
                tally.seconds += self._passed()

    def _drained(self, lane: Lane) -> bool:
        """Ask what waits in a lane, at most a burst of it; False where there was nothing."""
        taken = 0

        def rows() -> Iterator[list[Any]]:
            nonlocal taken
            while lane.burst is None or taken < lane.burst:
                n = lane.size if lane.burst is None else min(lane.size, lane.burst - taken)
                if not (some := lane.take(n)):
                    return
                taken += len(some)
                yield some

        if lane.writes:
            texts: Iterator[Any] = itertools.chain.from_iterable(map(lane.ask, rows()))
            with closing(self._answers.written(texts)) as batches:
                for batch in batches:
                    lane.told(batch)
        else:
            for some in rows():
                with closing(self._answers.scored(lane.ask(some))) as batches:  # type: ignore[arg-type]
                    for batch in batches:
                        lane.told(batch)
        return taken > 0

    # -- the device is beside this process ---------------------------------------------------------------------------

    def _side_by_side(self) -> None:
        with closing(self._answers.together(self._requests())) as batches:
            for batch in batches:
                self._deliver(batch)
                self._ask_apart()
                self._end_what_is_done()
        for tally in self._tallies:
            if not tally.ended:
                tally.end()

    def _requests(self) -> Iterator[Generate | Score | None]:
        """One of each lane in turn; None where all wait for answers."""
        turns = deque(self._lanes)
        while True:
            for _ in range(len(turns)):
                lane = turns[0]
                turns.rotate(-1)
                while not lane.waiting and (lane.writes or len(self._apart) < self._apart_at_most):
                    if not (rows := lane.take(ROWS)):
                        break
                    lane.tally.begin()
                    self._sort_out(lane, lane.ask(rows))
                if lane.waiting:
                    yield lane.waiting.popleft()  # type: ignore[misc]
                    break
            else:
                if self._owners:
                    yield None
                elif all(lane.empty for lane in self._lanes):
                    return

    def _sort_out(self, lane: Lane, requests: Iterable[Request]) -> None:
        for request in requests:
            lane.under_way += 1
            owners = self._owners.setdefault(request, [])
            owners.append(lane)
            if len(owners) > 1:
                continue  # it is under way
            if isinstance(request, Generate | Score):
                lane.waiting.append(request)
            else:
                self._apart.append(request)

    def _deliver(self, batch: Sequence[Answered]) -> None:
        self._share(self._passed())
        for_lane: dict[Lane, list[Answered]] = {}
        for key, answer in batch:
            owners = self._owners.pop(answer.request)
            for lane in owners:
                lane.under_way -= 1
            for lane in dict.fromkeys(owners):
                for_lane.setdefault(lane, []).append((key, answer))
        for lane, answered in for_lane.items():
            lane.told(answered)

    @property
    def _apart_at_most(self) -> int:
        """How many are asked apart at once: what a model works on and has waiting, for the stream stands meanwhile."""
        return max(APART, 2 * self._answers.room)

    def _ask_apart(self) -> None:
        """Ask for what a stream beside others does not give: with an adapter in front, or of hidden states."""
        others = len(self._owners) - len(self._apart)
        if not self._apart or (len(self._apart) < APART and others >= self._answers.room):
            return
        self._apart.sort(key=_kind)
        some, self._apart = self._apart[: self._apart_at_most], self._apart[self._apart_at_most :]
        with closing(self._answers.scored(some)) as batches:
            for batch in batches:
                self._deliver(batch)

    def _end_what_is_done(self) -> None:
        for tally in self._tallies:
            if any(not lane.empty for lane in self._lanes if lane.tally is tally):
                return
            if not tally.ended:
                tally.end()

    def _passed(self) -> float:
        since, self._since = self._since, time.monotonic()
        return self._since - since

    def _share(self, seconds: float) -> None:
        """Divide time among the phases by what each has with the model."""
        busy = Counter({lane.tally: 0 for lane in self._lanes})
        for lane in self._lanes:
            busy[lane.tally] += lane.under_way
        if not busy.total():  # rows are read or kept
            busy[next((tally for tally in self._tallies if not tally.ended), self._tallies[-1])] = 1
        for tally, n in busy.items():
            tally.seconds += seconds * n / busy.total()


def _kind(request: Scored) -> tuple[str, str]:
    adapter = getattr(request, "adapter", None)
    return type(request).__name__, adapter.sha256 if adapter is not None else ""
