"""An engine that plays a script from a thread of its own, over a store filled by hand."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engine.core.events import (
    CriticAudited,
    Event,
    ForecastUpdated,
    GuardChecked,
    MarginMeasured,
    ModelLoaded,
    ModelLoading,
    PhaseFinished,
    PhaseProgressed,
    PhaseStarted,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    ThroughputMeasured,
)
from engine.critics.audit import accepted_above
from engine.critics.probe import expected_calibration_error, reliability
from engine.spec.stage import load_spec
from store.db import Store
from store.serving.channel import Channel
from tests.store import rows

RUN = "run-a"
HOSTILE = "\x1b]52;c;aGFjaw==\x07[red]x[/] \u202eabc\u200b"
Script = Callable[["FakeEngine"], Iterable[Event]]


class FakeEngine:
    """Notes what the screen asked for in `calls`; `script` yields the events to emit."""

    def __init__(self, store: Store, emit: Callable[[Event], None], script: Script) -> None:
        self.run_id = RUN
        self.store = store
        self.outcome: RunFinished | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.reasons: list[str] = []
        self.emit = emit
        self.answered: set[str] = set()
        self.released = threading.Event()
        self._script = script
        self._thread = threading.Thread(target=self._play, daemon=True)

    def _play(self) -> None:
        for event in self._script(self):
            self.emit(event)

    def start(self) -> None:
        self._thread.start()

    def pause(self, through: str = "") -> None:
        self._called("pause", through)
        self.emit(RunPaused(RUN, through))

    def resume(self, through: str = "") -> None:
        self._called("resume", through)
        self.emit(RunResumed(RUN, through))

    def stop(self, through: str = "") -> None:
        self._called("stop", through)
        self.released.set()
        self.emit(RunFinished(RUN, "stopped", "asked to", 2, 12.0))

    def answer(self, question_id: str, answer: str, reason: str, through: str = "") -> bool:
        if question_id in self.answered:
            return False
        self.answered.add(question_id)
        self._called("answer", question_id, answer, through)
        self.reasons.append(reason)
        return True

    def _called(self, *what: str) -> None:
        self.calls.append(tuple(word for word in what if word))

    def join(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        self.calls.append(("close",))
        self.store.close()


def steady_run(engine: FakeEngine) -> Iterable[Event]:
    """A run in the middle of its responses."""
    yield RunStarted(RUN, "stage_1_small_model.md", "gemma3-270m", 7, 40, False)
    yield ModelLoading(RUN, "gemma3-270m")
    yield ModelLoaded(RUN, "gemma3-270m", "fp-1", 1.4)
    yield PhaseStarted(RUN, "guard", 22)
    yield GuardChecked(RUN, True, ())
    yield PhaseFinished(RUN, "guard", 22, None)
    yield PhaseStarted(RUN, "audit", 840)
    yield CriticAudited(RUN, "label", "planted", 0.953, True)
    yield CriticAudited(RUN, "label", "own", 0.731, True)
    yield CriticAudited(RUN, "pmi", "own", 0.512, False)
    yield PhaseFinished(RUN, "audit", 840, None)
    yield PhaseStarted(RUN, "instructions", 160)
    yield PhaseProgressed(RUN, "instructions", 160, 160, 131)
    yield PhaseFinished(RUN, "instructions", 160, 131)
    yield PhaseStarted(RUN, "instruction_judgements", 131)
    yield PhaseProgressed(RUN, "instruction_judgements", 131, 131, 98)
    yield PhaseFinished(RUN, "instruction_judgements", 131, 98)
    yield PhaseStarted(RUN, "responses", 98)
    draw = random.Random(3)
    for number in range(300):
        score = draw.gauss(0.6, 0.5)
        yield MarginMeasured(RUN, "label", "sample", f"s{number}", score, score, "unsure")
    for _ in range(30):
        yield ThroughputMeasured(RUN, "responses", 80 + draw.random() * 60, 3.1)
    yield PhaseProgressed(RUN, "responses", 64, 98, None)
    yield PhaseProgressed(RUN, "response_judgements", 60, 98, 36)
    yield ForecastUpdated(RUN, 36, 104, 152, 121, 208)
    engine.released.wait(20)


def settings(spec: str = "stage_1_small_model") -> dict[str, Any]:
    """The small model's, with a critic of the fake run that may filter."""
    critics = {"critics.instruction": "[grade]", "critics.sample": "[grade]"}  # whose margins the rows have
    critics |= {"critics.pair": "[compare, grade]"} if spec == "stage_6_small_model" else {}
    found = load_spec(spec, critics).settings.model_dump()
    found["critics"] |= {"sample": ["label", "pmi"], "accept_above": 0.4, "unsure_above": -0.25, "min_auc": 0.6}
    if found["pairs"] is not None:
        found["critics"]["pair"] = ["compare", "grade"]
    return found


def calibrated(n: int, *, seed: int) -> dict[str, Any]:
    """What the audit of a probe keeps beside its figures, of items whose log-odds tell too much."""
    draw = random.Random(seed)
    scores = {f"item-{number}": round(draw.gauss(-1.2, 1.1), 6) for number in range(n)}
    labels = {key: draw.random() < 1 / (1 + math.exp(-0.6 * score)) for key, score in scores.items()}
    values, good = list(scores.values()), list(labels.values())
    return {
        "scores": scores,
        "labels": labels,
        "midpoint_nats": 0.0,
        "calibration_error": expected_calibration_error(values, good),
        "reliability": reliability(values, good),
        "accepted": {"natural": True, **accepted_above(0.4, values, good)},
    }


def fill(
    path: Path, *, state: str = "done", hostile: str = HOSTILE, many: int = 0, spec: str = "stage_1_small_model"
) -> None:
    """A store with one run, whose first response is hostile."""
    run = rows.small_run(RUN, state=state, settings=settings(spec), spec=f"{spec}.md")
    first = run["samples"][0]
    first["raw"] = f"{hostile} and a plain tail. Instruction: next"
    first["response"] = f"{hostile} and a plain tail."
    first["trimmed"] = [{"rule": "marker", "start": len(first["response"]), "end": len(first["raw"])}]
    run["audits"] = [
        rows.audit("label", auc=0.73, threshold=0.4, may_filter=True, detail=calibrated(60, seed=1)),
        rows.audit(
            "label", part="fresh", auc=0.71, may_filter=True, detail=calibrated(210, seed=2), n_good=54, n_bad=156
        ),
        rows.audit("pmi", auc=0.51),
    ]
    draw = random.Random(5)
    words = ["the", "quick", "answer", "lists", "three", "facts", "about", "rivers", "in", "plain", "words"]
    for number in range(10, 10 + many):
        verdict = draw.choice(["accepted", "accepted", "rejected", "unsure"])
        instruction = "Write " + " ".join(draw.sample(words, 8))
        run["instructions"].append(rows.instruction(f"i{number}", ordinal=number, text=instruction))
        run["samples"].append(
            rows.sample(f"s{number}", f"i{number}", ordinal=number, response=" ".join(draw.sample(words, 11)))
        )
        run["judgements"].append(
            rows.judgement(f"s{number}", score=draw.gauss(0.5, 0.6), margin_nats=0.2, audited=True)
        )
        flags = ["runaway"] if verdict == "rejected" else []
        run["verdicts"].append(rows.verdict(f"s{number}", verdict, flags=flags, reason="; ".join(flags) or "kept"))
    store = Store.open(path)
    store.append(run)
    store.close()


def noting(orders: list[Any]) -> Callable[[Any, Any], Any]:
    """In the place of `open_engine`: notes what is ordered, and gives an engine that nobody starts."""

    def open_engine(order: Any, _: Any) -> Any:
        orders.append(order)
        return SimpleNamespace(store=SimpleNamespace(channel=Channel()))

    return open_engine
