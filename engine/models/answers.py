"""Model calls that are paid for once: looked up by the hash of what determines them, committed before they are used.

This is the only place where the pipeline meets a model. A phase asks, gets an answer and its id, and cannot tell
whether it was computed now or in a run that was killed last week.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from engine.core.control import Control
from engine.core.errors import ModelError
from engine.models.requests import (
    Adapted,
    Beside,
    Completion,
    Generate,
    LabelScores,
    LoraFiles,
    Model,
    Probed,
    Read,
    Readout,
    Score,
    Scored,
    request_id,
)
from store.db import Store
from store.read import Reader
from store.salvage.clock import utc_now

WINDOW = 256  # requests looked up together
HELD = 256  # answers committed together at most, and given together
HELD_S = 1.0  # and at the latest after so long
HELD_IDLE_S = 0.05  # or after so long, where the model has room for what follows from them

Answered = tuple[str, Completion | LabelScores]  # the id of a request and its answer
Batches = Generator[list[Answered], None, None]


@dataclass(eq=False)
class _Gathered:
    """Answers of one stream: computed and not committed yet, and committed and not given yet."""

    held: list[Answered] = field(default_factory=list)
    ready: list[Answered] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)  # the last commit


class Answers:
    """The model behind the store.

    `computed` and `reused` count the calls of this session; `on_work` is told tokens written and items scored as they
    are committed, for the throughput on the screen.
    """

    def __init__(
        self,
        model: Model,
        store: Store,
        session_id: str,
        control: Control,
        on_work: Callable[[int, int], None] = lambda tokens, items: None,
    ) -> None:
        self.model = model
        self.away = False  # the model was closed for a time, and is not loaded again yet
        self.computed = 0
        self.reused = 0
        self._store = store
        self._reader: Reader = store.reader()
        self._session_id = session_id
        self._control = control
        self._on_work = on_work
        self._streams: list[_Gathered] = []  # that are open
        control.at_stop(self._hurry)

    @property
    def room(self) -> int:
        """How many requests the model works on at once, as far as it says."""
        return int(getattr(self.model, "batch_size", 1))

    @property
    def folder(self) -> Path:
        """Where the store lies: what is kept beside it is named from there."""
        return self._store.path.parent

    def _hurry(self) -> None:
        """Tell the model that is there now, where it is one that may wait for others: servers."""
        if (hurry := getattr(self.model, "hurry", None)) is not None:
            hurry()

    def check(self) -> None:
        """Raise Interrupted where the run is to stop."""
        self._control.check()

    def stored(self, sql: str, key: str) -> dict[str, Any] | None:
        """The row that one SELECT finds under a key, of what was computed from answers and kept."""
        return next(iter(self._reader.query(sql, [key])), None)

    def keep(self, table: str, row: dict[str, Any]) -> None:
        """Keep what was computed from answers, in place of an older row of the same key."""
        self._store.put({table: [row | {"session_id": self._session_id}]})

    @property
    def beside(self) -> bool:
        """Whether the model computes in another process, so that it goes on while nobody waits for it."""
        return isinstance(self.model, Beside)

    def complete(self, requests: Iterable[Generate]) -> Iterator[tuple[str, Completion]]:
        """Continue prompts; answers come with their ids as they are committed, not in the order asked."""
        return cast("Iterator[tuple[str, Completion]]", self._one_by_one(self.written(requests)))

    def score(self, requests: Iterable[Scored]) -> Iterator[tuple[str, LabelScores]]:
        """Score labels, with an adapter or without, or read log-odds off hidden states.

        Answers come with their ids as they are committed, not in the order asked.
        """
        return cast("Iterator[tuple[str, LabelScores]]", self._one_by_one(self.scored(requests)))

    def written(self, requests: Iterable[Generate]) -> Batches:
        """Continue prompts; answers come in batches, each as it is committed."""
        return self._batches(requests, self.model.generate)

    def scored(self, requests: Iterable[Scored]) -> Batches:
        """What `score` gives, in batches, each as it is committed."""
        return self._batches(requests, lambda missing: scores_of(self.model, missing))

    def together(self, requests: Iterable[Generate | Score | None]) -> Batches:
        """Both kinds in one stream, of a model that computes `beside` this process.

        A request that is None says that there is none now. A batch is empty where nothing was committed meanwhile, so
        that the caller comes to work that makes requests; `requests` ends where no more follow from the answers.
        """
        assert isinstance(self.model, Beside)
        return self._batches(requests, self.model.together, waits=False)

    def _one_by_one(self, batches: Batches) -> Iterator[Answered]:
        with closing(batches):
            for batch in batches:
                for answered in batch:
                    self._control.check()
                    yield answered

    def _batches(
        self, requests: Iterable[Any], ask: Callable[[Iterable[Any]], Iterator[Any]], waits: bool = True
    ) -> Batches:
        stream = _Gathered()
        under_way: set[str] = set()

        def missing() -> Iterator[Any]:
            for window in _windows(requests):
                ids = {request_id(self.model.fingerprint, request): request for request in window}
                found = self._found(ids)
                for key, request in ids.items():
                    if key in under_way:
                        continue
                    if key in found:
                        self.reused += 1
                        stream.ready.append((key, found[key]))
                    else:
                        under_way.add(key)
                        yield request
                if not window or (not waits and len(found) == len(ids)):  # what was found is given before more is read
                    yield None

        def take() -> Iterator[list[Answered]]:
            ready, stream.ready = stream.ready, []
            under_way.difference_update(key for key, _ in ready)
            yield ready[:HELD]
            for begin in range(HELD, len(ready), HELD):
                self._control.check()
                yield ready[begin : begin + HELD]

        self._streams.append(stream)
        try:
            # A model that is not here writes down what another machine has to compute.
            for answer in getattr(self.model, "write", ask)(missing()):
                if answer is not None:
                    stream.held.append((request_id(self.model.fingerprint, answer.request), answer))
                waited = time.monotonic() - stream.since
                at_work = len(under_way) - len(stream.held)
                if (
                    len(stream.held) >= HELD
                    or waited >= HELD_S
                    or self._control.stopping
                    or (answer is None and (not at_work or (at_work < self.room and waited >= HELD_IDLE_S)))
                ):
                    self._commit()
                if stream.ready or answer is None:
                    yield from take()
                self._control.check()
                if self._control.paused:
                    self._commit()
                    self._control.wait_while_paused()
        except ModelError:
            self._control.check()  # a model that was no longer waited for, since the run is to stop, is no failure
            raise
        finally:
            # What was computed is kept also when the consumer ends early or the model fails.
            self._commit()
            self._streams.remove(stream)
        if stream.ready:
            self._control.check()
            yield from take()

    def _found(self, asked: Mapping[str, Generate | Scored]) -> dict[str, Completion | LabelScores]:
        """The answers that the store has, by id."""
        found: dict[str, Completion | LabelScores] = {}
        texts = [key for key, request in asked.items() if isinstance(request, Generate)]
        scores = [key for key, request in asked.items() if not isinstance(request, Generate)]
        if texts:
            for key, row in self._reader.completions(texts).items():
                found[key] = completion_of(cast(Generate, asked[key]), row)
        if scores:
            for key, row in self._reader.scores(scores).items():
                found[key] = label_scores_of(cast(Scored, asked[key]), row)
        return found

    def _commit(self) -> None:
        """Commit what all streams hold: one may wait in the middle while another is read."""
        held = [answered for stream in self._streams for answered in stream.held]
        if not held:
            return
        rows: dict[str, list[dict[str, Any]]] = {}
        tokens = items = 0
        for key, answer in held:
            table, row = row_of(key, self.model.fingerprint, answer)
            rows.setdefault(table, []).append(row | {"session_id": self._session_id, "created_at": utc_now()})
            tokens += len(answer.token_ids) if isinstance(answer, Completion) else 0
            items += isinstance(answer, LabelScores)
        self._store.append(rows)
        for stream in self._streams:
            stream.ready += stream.held
            stream.held, stream.since = [], time.monotonic()
        self.computed += len(held)
        self._on_work(tokens, items)


def row_of(key: str, fingerprint: str, answer: Completion | LabelScores) -> tuple[str, dict[str, Any]]:
    """The table and the row of an answer, but for who computed it and when."""
    if isinstance(answer, Completion):
        return _completion_row(key, fingerprint, answer)
    return _score_row(key, fingerprint, answer)


def _completion_row(key: str, fingerprint: str, answer: Completion) -> tuple[str, dict[str, Any]]:
    return "completions", {
        "request_id": key,
        "fingerprint": fingerprint,
        "prompt": answer.request.prompt,
        "decoding": asdict(answer.request.decoding),
        "seed": answer.request.seed,
        "text": answer.text,
        "token_ids": list(answer.token_ids),
        "n_tokens": len(answer.token_ids),
        "n_prompt_tokens": answer.n_prompt_tokens,
        "stop_reason": answer.stop_reason,
        "stop_text": answer.stop_text,
    }


def _score_row(key: str, fingerprint: str, answer: LabelScores) -> tuple[str, dict[str, Any]]:
    return "scores", {
        "request_id": key,
        "fingerprint": fingerprint,
        "prompt": answer.request.prompt,
        "labels": list(answer.request.labels),
        "logprobs": list(answer.logprobs),
        "n_tokens": list(answer.n_tokens),
        "readout": _read_by(answer.request),
    }


def _windows(requests: Iterable[Any]) -> Iterator[list[Any]]:
    """So many requests as are looked up together, fewer where None says that there are no more now."""
    window: list[Any] = []
    for request in requests:
        if request is not None:
            window.append(request)
        if request is None or len(window) == WINDOW:
            yield window
            window = []
    if window:
        yield window


def _read_by(request: Scored) -> str | None:
    """The hash of the probe or of the adapter that a score is of."""
    if isinstance(request, Score):
        return None
    return request.readout.sha256 if isinstance(request, Probed) else request.adapter.sha256


def scores_of(model: Model, requests: Iterable[Scored]) -> Iterator[LabelScores]:
    """What a model says to requests of any kind; those of one kind that stand together are asked together.

    Raises ModelError for a log-probability that is no finite number, as broken weights give.
    """
    for answer in _asked_by_kind(model, requests):
        if not all(map(math.isfinite, answer.logprobs)):
            raise ModelError(
                f"the model gives {answer.logprobs} as log-probabilities of {answer.request.labels}",
                "Its weights are broken, or a number overflows in their type. What was committed is safe.",
            )
        yield answer


def _asked_by_kind(model: Model, requests: Iterable[Scored]) -> Iterator[LabelScores]:
    for of, some in itertools.groupby(requests, lambda one: one.adapter if isinstance(one, Adapted) else type(one)):
        if isinstance(of, LoraFiles):
            yield from _adapted(model, of, list(some))
        else:
            ask: Callable[[Any], Iterator[LabelScores]] = (
                model.score if of is Score else functools.partial(_probed, model)
            )
            yield from ask(some)


def _adapted(model: Model, adapter: LoraFiles, requests: Sequence[Any]) -> list[LabelScores]:
    """All answered before one is given, so that whoever takes them finds the model as it was."""
    asked: dict[Any, Any] = {Score(one.prompt, one.labels, one.shared): one for one in requests}
    before = model.in_use
    model.use(adapter.folder, adapter.sha256)
    try:
        return [replace(answer, request=asked[answer.request]) for answer in model.score(asked)]
    finally:
        if before is None:
            model.use(None)
        else:
            model.use(before.folder, before.sha256)


def _probed(model: Model, requests: Iterable[Any]) -> Iterator[LabelScores]:
    asked: dict[Read, list[Probed]] = {}  # and not answered yet

    def texts() -> Iterator[Read]:
        for request in requests:
            text = Read(request.prompt, (request.readout.layer,))
            asked.setdefault(text, []).append(request)
            yield text

    for answer in model.hidden(texts()):
        request = asked[answer.request].pop(0)
        margin = request.readout.log_odds(answer.states[0])
        yield LabelScores(request, (-math.log1p(math.exp(-margin)), -math.log1p(math.exp(margin))), (0, 0))


def score_request_of(row: dict[str, Any], read_by: Callable[[str], Readout | LoraFiles]) -> Scored:
    """The request behind a stored row of scores; `read_by` finds a probe or an adapter by its hash."""
    if row["readout"] is None:
        return Score(row["prompt"], tuple(row["labels"]))
    found = read_by(row["readout"])
    if isinstance(found, LoraFiles):
        return Adapted(row["prompt"], found, tuple(row["labels"]))
    return Probed(row["prompt"], found, tuple(row["labels"]))


def completion_of(request: Generate, row: dict[str, Any]) -> Completion:
    """The answer to a request as its stored row has it."""
    return Completion(
        request,
        row["text"],
        tuple(row["token_ids"]),
        row["n_prompt_tokens"],
        row["stop_reason"],
        row["stop_text"],
    )


def label_scores_of(request: Scored, row: dict[str, Any]) -> LabelScores:
    """The answer to a score request as its stored row has it."""
    return LabelScores(request, tuple(row["logprobs"]), tuple(row["n_tokens"]))
