"""The command line over an engine that plays a part, in this process or, run as a program, in one of its own.

python cli_fakes.py PART ARGUMENT...      # cai ARGUMENT... with an engine that plays PART
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from engine.core.events import (
    CriticAudited,
    Event,
    GateDecided,
    GuardChecked,
    PhaseFinished,
    PhaseProgressed,
    PhaseStarted,
    QuestionAnswered,
    QuestionAsked,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    TrainingFinished,
    TrainingStarted,
    TrainingStepped,
)
from engine.run import engine
from engine.spec.stage import load_spec
from store.db import Store
from store.errors import CaiError
from tests.store import rows

ROOT = Path(__file__).parents[2]
RUN = "run-a"


class PlayingEngine:
    """Plays one part; the store holds the small run, whose state follows the part's end."""

    def __init__(self, path: Path, emit: Callable[[Event], None], part: str) -> None:
        self.run_id = RUN
        self.store = Store.open(path)
        self.store.append(rows.small_run(RUN, settings=load_spec("stage_1_small_model").settings.model_dump()))
        self.outcome: RunFinished | None = None
        self.stopped, self.answered = threading.Event(), threading.Event()
        self._emit = emit
        self._part = part
        self._thread = threading.Thread(target=self._play, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, through: str = "") -> None:
        self.stopped.set()

    def pause(self, through: str = "") -> None:
        self._emit(RunPaused(RUN, through))

    def resume(self, through: str = "") -> None:
        self._emit(RunResumed(RUN, through))

    def answer(self, question_id: str, answer: str, reason: str, through: str = "") -> bool:
        self._emit(QuestionAnswered(RUN, question_id, answer, through))
        self.answered.set()
        return True

    def join(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        self.store.close()

    def _play(self) -> None:
        for event in self._opening():
            self._emit(event)
        state, reason = PARTS[self._part](self)
        if state == "gate_failed" and self._part == "gate_failed":
            self._emit(GateDecided(RUN, "pilot", False, ("token_limit",)))
        self.store.update_run(RUN, state=state, reason=reason, elapsed_s=3.5)
        self.outcome = RunFinished(RUN, state, reason, 2, 3.5)
        self._emit(self.outcome)

    def _opening(self) -> Iterable[Event]:
        yield RunStarted(RUN, "stage_1_small_model", "gemma-3-270m", 7, 40, False)
        yield PhaseStarted(RUN, "guard", 2)
        yield GuardChecked(RUN, True, ())
        yield PhaseFinished(RUN, "guard", 2, None)
        yield CriticAudited(RUN, "label", "own", 0.61, False)
        yield PhaseStarted(RUN, "responses", 40)
        yield PhaseProgressed(RUN, "responses", 3, 40, 2)


def _done(_: PlayingEngine) -> tuple[str, str]:
    return "done", ""


def _gate(_: PlayingEngine) -> tuple[str, str]:
    return "gate_failed", "token_limit is 0.300, wanted < 0.050"


def _until_stopped(playing: PlayingEngine) -> tuple[str, str]:
    playing.stopped.wait(60)
    return "stopped", "the run was stopped"


def _deaf(_: PlayingEngine) -> tuple[str, str]:
    time.sleep(60)
    return "done", ""


def _question(playing: PlayingEngine) -> tuple[str, str]:
    playing._emit(QuestionAsked(RUN, "q1", "gate", "Go on?"))
    return _until_stopped(playing)


def _trained(playing: PlayingEngine) -> tuple[str, str]:
    """An SFT of two steps."""
    playing._emit(PhaseStarted(RUN, "sft", 2))
    playing._emit(TrainingStarted(RUN, "sft-1", "sft", 2, 0, 69, "CPU"))
    steps = [rows.training_step(step, heldout_loss=1.25 if step == 2 else None) for step in (1, 2)]
    for row in steps:
        playing._emit(
            TrainingStepped(RUN, "sft-1", row["step"], 2, row["loss"], row["heldout_loss"], None, 200.0, None)
        )
        playing._emit(PhaseProgressed(RUN, "sft", row["step"], 2, None))
        time.sleep(0.3)
    done = rows.training(state="done", planned_steps=2, heldout_before=1.5, adapter_path="cai.trainings/sft-1/adapter",
                         adapter_step=2, elapsed_s=4.0, facts={"examples": 69})  # fmt: skip
    playing.store.append({"trainings": [done], "training_steps": steps})
    playing._emit(TrainingFinished(RUN, "sft-1", "sft", "done", ""))
    return "done", "sft trained in 2 steps on 69 examples"


def _locked(_: PlayingEngine) -> tuple[str, str]:
    return "gate_failed", "training is locked: enough examples: 12 of 16. Take the run further."


def _noisy(_: PlayingEngine) -> tuple[str, str]:
    os.write(1, b"native words on descriptor one\n")
    os.write(2, b"native words on descriptor two\n")
    sys.stdout.write("python words on stdout\n")
    sys.stderr.write("python words on stderr\n")
    subprocess.run(["sh", "-c", "echo child words; echo child complaint >&2"], check=True)
    sys.stdout.write(f"omp {os.environ.get('OMP_WAIT_POLICY')}\n")
    return "done", ""


def _chatty(playing: PlayingEngine) -> tuple[str, str]:
    for done in range(3_000):
        playing._emit(PhaseFinished(RUN, "responses", done, None))
    return "done", ""


PARTS: dict[str, Callable[[PlayingEngine], tuple[str, str]]] = {
    "done": _done,
    "gate_failed": _gate,
    "until_stopped": _until_stopped,
    "deaf": _deaf,
    "question": _question,
    "trained": _trained,
    "locked": _locked,
    "noisy": _noisy,
    "chatty": _chatty,
}


def command(part: str, *arguments: object) -> list[str]:
    """The command that plays `part`; run it in ROOT."""
    return [sys.executable, "-m", "tests.tui.cli_fakes", part, *map(str, arguments)]


def install(part: str, put: Callable[[Any, str, Any], None] = setattr) -> list[engine.Order]:
    """Replace the engine's face by one that plays `part`; returns the options it will be opened with."""
    opened: list[engine.Order] = []

    def open_engine(options: engine.Order, emit: Callable[[Event], None]) -> PlayingEngine:
        opened.append(options)
        if part == "unknown_model":
            raise CaiError("there is no model 'nope'", "name one with --model; no run was started")
        if part == "broken":
            raise RuntimeError("a defect\nwith a second line")
        return PlayingEngine(options.store, emit, part)

    put(engine, "open_engine", open_engine)
    return opened


if __name__ == "__main__":
    from engine.run import same
    from tui.cli import entry

    install(sys.argv[1])
    same.same_run = lambda options: None  # no spec is read here
    sys.exit(entry.main(sys.argv[2:]))
