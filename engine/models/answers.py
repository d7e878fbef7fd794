"""Model calls that are paid for once: looked up by the hash of what determines them, committed before they are used.

This is the only place where the pipeline meets a model. A phase asks, gets an answer and its id, and cannot tell
whether it was computed now or in a run that was killed last week.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from engine.core.control import Control
from engine.core.errors import ModelError
from engine.models.requests import (
    Adapted,
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
HELD = 256  # answers committed together at most
HELD_S = 1.0  # and at the latest after so long

_Request = TypeVar("_Request", Generate, Scored)
_Answer = TypeVar("_Answer", Completion, LabelScores)


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

    def complete(self, requests: Iterable[Generate]) -> Iterator[tuple[str, Completion]]:
        """Continue prompts; answers come with their ids as they are committed, not in the order asked."""
        return self._stream(requests, self._reader.completions, self.model.generate, completion_of, completion_row)

    def score(self, requests: Iterable[Scored]) -> Iterator[tuple[str, LabelScores]]:
        """Score labels, with an adapter or without, or read log-odds off hidden states.

        Answers come with their ids as they are committed, not in the order asked.
        """
        return self._stream(
            requests,
            self._reader.scores,
            lambda missing: scores_of(self.model, missing),
            label_scores_of,
            score_row,
        )

    def _stream(
        self,
        requests: Iterable[_Request],
        find: Callable[[list[str]], dict[str, dict[str, Any]]],
        ask: Callable[[Iterable[_Request]], Iterator[_Answer]],
        restore: Callable[[_Request, dict[str, Any]], _Answer],
        row_of: Callable[[str, str, _Answer], tuple[str, dict[str, Any]]],
    ) -> Iterator[tuple[str, _Answer]]:
        ready: deque[tuple[str, _Answer]] = deque()
        asked: set[str] = set()

        def missing() -> Iterator[_Request]:
            waiting = iter(requests)
            while window := list(itertools.islice(waiting, WINDOW)):
                ids = [request_id(self.model.fingerprint, request) for request in window]
                found = find(ids)
                for key, request in zip(ids, window, strict=True):
                    if key in asked:
                        continue
                    asked.add(key)
                    if key in found:
                        self.reused += 1
                        ready.append((key, restore(request, found[key])))
                    else:
                        yield request

        held: list[tuple[str, _Answer]] = []
        since = time.monotonic()
        try:
            for answer in getattr(self.model, "write", ask)(
                missing()
            ):  # for another machine, by a model that is not here
                held.append((request_id(self.model.fingerprint, answer.request), answer))
                if len(held) >= HELD or time.monotonic() - since >= HELD_S or self._control.stopping:
                    self._commit(held, row_of)
                    ready.extend(held)
                    held, since = [], time.monotonic()
                while ready:
                    yield ready.popleft()
                self._control.check()
                if self._control.paused:
                    self._commit(held, row_of)
                    ready.extend(held)
                    held = []
                    self._control.wait_while_paused()
        except ModelError:
            self._control.check()  # a model that was no longer waited for, since the run is to stop, is no failure
            raise
        finally:
            # What was computed is kept also when the consumer ends early or the model fails.
            self._commit(held, row_of)
        ready.extend(held)
        while ready:
            self._control.check()
            yield ready.popleft()

    def _commit(
        self, held: list[tuple[str, _Answer]], row_of: Callable[[str, str, _Answer], tuple[str, dict[str, Any]]]
    ) -> None:
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
        self.computed += len(held)
        self._on_work(tokens, items)


def completion_row(key: str, fingerprint: str, answer: Completion) -> tuple[str, dict[str, Any]]:
    """The table and the row of an answer, but for who computed it and when."""
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


def score_row(key: str, fingerprint: str, answer: LabelScores) -> tuple[str, dict[str, Any]]:
    """The same of label scores."""
    return "scores", {
        "request_id": key,
        "fingerprint": fingerprint,
        "prompt": answer.request.prompt,
        "labels": list(answer.request.labels),
        "logprobs": list(answer.logprobs),
        "n_tokens": list(answer.n_tokens),
        "readout": _read_by(answer.request),
    }


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
