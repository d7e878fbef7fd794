"""A store with a small run, reviewers on a scripted server, and persons who answer, for the tests of reviews."""

from __future__ import annotations

import functools
import random
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.core.control import Control
from engine.core.events import Event, QuestionAsked
from engine.core.key import Key
from engine.review.desk import Desk
from engine.review.files import folder_of
from engine.review.model import ModelReviewer, ModelSettings
from engine.review.reviewers import Chain, PersonReviewer
from engine.review.verify import verify
from engine.spec.stage import load_spec
from store.db import Store
from tests.engine.review.review_server import Server
from tests.store import rows

RUN = "run-a"
KEY = "sk-PLANTED-7h3k2j9d8s7f6g5h4j3k"
QUESTION = "May the run go on to its target?"


def new_store(path: Path) -> Path:
    """A store with one run of four samples under the large spec; returns its path."""
    path.write_bytes(_template())
    return path


@functools.cache
def _template() -> bytes:
    settings = load_spec("stage_1_explicit_instructions").settings.model_dump()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cai.duckdb"
        with Store.open(path) as store:
            store.append(rows.small_run(RUN, settings=settings))
        return path.read_bytes()


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


def model(server: Server, clock: Clock | None = None, **settings: Any) -> ModelReviewer:
    """A reviewer on that server, which never really sleeps."""
    clock = clock or Clock()
    chosen = ModelSettings(base_url=server.url, **({"timeout_s": 5.0} | settings))
    return ModelReviewer(chosen, Key(KEY, "a test"), sleep=clock.sleep, clock=clock, rng=random.Random(1))


class Person:
    """Answers each question by the next (answer, reason), from a thread of its own, as the screen does."""

    def __init__(self, *answers: tuple[str, str], on_end: Callable[[Control], None] = Control.stop) -> None:
        self.control = Control()
        self.events: list[Event] = []
        self.answers = list(answers)
        self._on_end = on_end

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, QuestionAsked):
            threading.Thread(target=self._answer, args=(event.question_id,), daemon=True).start()

    def _answer(self, question_id: str) -> None:
        if self.answers:
            assert self.control.answer(question_id, *self.answers.pop(0))
        else:
            self._on_end(self.control)

    @property
    def asked(self) -> list[QuestionAsked]:
        return [event for event in self.events if isinstance(event, QuestionAsked)]

    def reviewer(self, *, present: bool = True) -> PersonReviewer:
        return PersonReviewer(self.control, self.emit, present=present)


@contextmanager
def desk(
    path: Path | Store, first: Any = None, person: Person | None = None, *, present: bool = True, confirm: bool = False,
    clock: Clock | None = None, run_id: str = RUN, sound: bool = True,
) -> Iterator[Desk]:  # fmt: skip
    """A desk for a model (or a policy), then a person; the record must be sound when it closes."""
    who = person or Person()
    last = who.reviewer(present=present and person is not None)
    with nullcontext(path) if isinstance(path, Store) else Store.open(path) as store:
        opened = Desk(
            store, run_id, last if first is None else Chain(first, last, confirm=confirm), control=who.control,
            emit=who.emit, key=Key(KEY, "a test"), now=clock or Clock(),
        )  # fmt: skip
        yield opened
        assert not sound or problems(store, run_id) == []


def problems(store: Store, run_id: str = RUN) -> list[str]:
    """What verify finds."""
    with store.reader() as reader:
        return verify(reader, run_id, folder_of(store.path, run_id))


def kinds(desk: Desk) -> list[str]:
    """The kinds of all entries, in order."""
    return [entry.kind for entry in desk.trail.entries()]


def decided(store: Store) -> Sequence[dict[str, Any]]:
    """The rows of `decisions`."""
    with store.reader() as reader:
        return reader.query('SELECT * FROM decisions ORDER BY "at"')
