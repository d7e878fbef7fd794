"""A model for unit tests whose texts and preferences are known, and a run around it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import engine.models.registry
from engine.core.events import Event
from engine.models.requests import Completion, Encoding, Generate, LabelScores, LoraFiles, Score, adapter_fingerprint
from engine.run.engine import Engine, open_engine
from engine.run.orders import NewRun, Order, Resume, Round

VERBS = ("Explain", "Describe", "List", "Compare", "Name", "Suggest", "Define", "Outline")
NOUNS = [
    "river",
    "bridge",
    "castle",
    "engine",
    "garden",
    "harbour",
    "island",
    "jacket",
    "kitchen",
    "lantern",
    "market",
    "needle",
    "orchard",
    "pencil",
    "quarry",
    "rocket",
    "saddle",
    "temple",
    "umbrella",
    "village",
    "window",
    "yacht",
    "zeppelin",
    "anchor",
    "basket",
    "candle",
    "drum",
    "easel",
    "feather",
    "glove",
]


class FakeModel:
    """Lists name two random nouns; every third answer loops; grades like items whose text has an even length."""

    name = "fake"
    layers = 0  # no hidden states: critics are those of labels
    adaptable: str | None = None

    def __init__(self, batch_size: int = 4, on_answer: Callable[[int], None] = lambda n: None) -> None:
        self.fingerprint = "fa" * 8
        self.facts: dict[str, Any] = {"backend": "fake"}
        self.batch_size = batch_size
        self.in_use: LoraFiles | None = None
        self.generated: list[Generate] = []
        self._on_answer = on_answer

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        waiting = iter(requests)
        while batch := [r for _, r in zip(range(self.batch_size), waiting, strict=False)]:
            for request in reversed(batch):  # answers need not come in the order asked
                self.generated.append(request)
                self._on_answer(len(self.generated))
                yield self._answer(request)

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        for request in requests:
            item = request.prompt[request.shared :]
            # A known sentence of the guard, or a grade.
            good = len(request.labels) > 2 or len(item) % 2 == 0
            logprobs = tuple(-0.5 if (i == 0) == good else -1.5 for i in range(len(request.labels)))
            yield LabelScores(request, logprobs, tuple(1 for _ in request.labels))

    def encoding(self, text: str) -> Encoding:
        return Encoding((2, *range(10, 10 + len(text))), ("<bos>", *text), 2, frozenset({99}))

    def use(self, adapter: Path | None, sha256: str = "") -> None:
        self.fingerprint = "fa" * 8 if adapter is None else adapter_fingerprint("fa" * 8, sha256)
        self.in_use = None if adapter is None else LoraFiles(adapter, sha256)

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None:
        return None

    def close(self) -> None:
        pass

    def _answer(self, request: Generate) -> Completion:
        rng = random.Random(request.seed)
        if "numbered list" in request.prompt:
            lines = [
                f"{'' if n == 11 else f'{n}. '}{rng.choice(VERBS)} how a {rng.choice(NOUNS)} differs from a "
                f"{rng.choice(NOUNS)} made of {rng.choice(NOUNS)}."
                for n in range(11, 15)
            ]
            if "is quoted in the task" in request.prompt:
                # Short, so that what all of them share makes no near-duplicates.
                lines = [line.replace(" how a ", ' "', 1).replace(" differs from a ", " or ") for line in lines]
                lines = [line.replace(" made of ", '" beside "').rstrip(".") + '"' for line in lines]
            text, reason = " " + "\n".join(lines), "eos"
        elif rng.random() < 0.3:
            text, reason = " so it goes on and" * 8, "length"
        else:
            text, reason = f" A {rng.choice(NOUNS)} is older than a {rng.choice(NOUNS)} by some years.", "stop"
        return Completion(
            request, text, tuple(range(len(text.split()))), 5, reason, "\n###" if reason == "stop" else None
        )


class Elsewhere:
    """Makes a fake one that computes in another process: each look at it is a step, and texts take one to nine.

    It has `batch_size` requests at once and takes as many more; `most` is the most kinds that it had at once.
    """

    batch_size: int
    generate: Callable[..., Iterator[Completion]]
    score: Callable[..., Iterator[LabelScores]]
    most = 0

    def together(self, requests: Iterable[Generate | Score | None]) -> Iterator[Completion | LabelScores | None]:
        waiting, more = iter(requests), True
        under_way: list[list[Any]] = []  # steps left, and the request
        end = object()
        while True:
            while more and len(under_way) < 2 * self.batch_size:
                request = next(waiting, end)
                more = request is not end
                if request is end or request is None:
                    break
                under_way.append([1 + request.seed % 9 if isinstance(request, Generate) else 1, request])
            if not under_way and not more:
                return
            at_work = under_way[: self.batch_size]
            self.most = max(self.most, len({type(request) for _, request in at_work}))
            for one in at_work:
                one[0] -= 1
            for one in [one for one in at_work if not one[0]]:
                under_way.remove(one)
                kind = self.generate if isinstance(one[1], Generate) else self.score
                yield from kind([one[1]])
            yield None


class FakeElsewhere(Elsewhere, FakeModel):
    pass


def order_of(store: Path, **options: Any) -> Order:
    """A new run, or what is to be done with one that is in the store."""
    kind = Resume if "resume" in options else Round if "round_of" in options else NewRun
    return kind(store, **options)


def run_engine(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: FakeModel,
    on_event: Callable[[Event], None] = lambda e: None,
    **options: Any,
) -> Engine:
    """Run to the end with the fake model; the engine is returned with its store still open."""
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: model)
    opened = open_engine(order_of(store, **options), on_event)
    opened.start()
    assert opened.join(60)
    return opened


def stopped_after(
    n: int, store: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., FakeModel] = FakeModel, **options: Any
) -> tuple[FakeModel, str]:
    """Begin a run and stop it at the model's nth answer; returns the model and the run's id, its store closed."""
    box: list[Engine] = []
    model = make(on_answer=lambda answered: box[0].stop() if answered == n else None)
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: model)
    box.append(open_engine(NewRun(store, **options), lambda event: None))
    box[0].start()
    outcome = box[0].outcome if box[0].join(60) else None
    assert outcome is not None and outcome.state == "stopped"
    box[0].close()
    return model, box[0].run_id


def data_rows(opened: Engine) -> dict[str, list[dict[str, Any]]]:
    """All derived rows in a fixed order, without the run's id and times."""
    reader = opened.store.reader()
    found = {}
    for table, order in (
        ("instructions", "ordinal"),
        ("samples", "ordinal"),
        ("judgements", "subject_kind, subject_id, critic"),
        ("verdicts", "subject_kind, subject_id"),
        ("audits", "subject_kind, critic, part"),
        ("guard_checks", "check_id"),
    ):
        rows = reader.query(
            f"SELECT * EXCLUDE (run_id) FROM {table} WHERE run_id = ? ORDER BY {order}", [opened.run_id]
        )
        found[table] = rows
    found["completions"] = reader.query(
        "SELECT request_id, prompt, decoding, seed, text, token_ids, stop_reason FROM completions ORDER BY request_id"
    )
    reader.close()
    return found
