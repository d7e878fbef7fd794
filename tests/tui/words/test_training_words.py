"""What is said of trainings: events as lines, steps as progress, plans and outcomes on the command line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine.core.errors import LOCKED, Locked
from engine.core.events import (
    CheckpointSaved,
    Event,
    PhaseProgressed,
    PhaseStarted,
    RunFinished,
    RunResumed,
    RunStarted,
    TrainingFinished,
    TrainingStarted,
    TrainingStepped,
)
from engine.core.figures import mebibytes
from engine.training.locks import Lock, require_open
from store.db import Store
from tests.store import rows
from tests.tui.fakes import RUN, fill
from tests.tui.training_fakes import GIB, finished_training, memory, plan
from tui.app.asking import leave, stop
from tui.live.bridge import Bridge
from tui.live.state import RunState, beside
from tui.printed.leaving import farewell
from tui.printed.progress import LiveView, PlainView
from tui.printed.training import merge_report, training_outcome, training_plan_report, what_next
from tui.reads.training import training_accounts
from tui.words.events import describe
from tui.words.training import memory_words, settings_words, stands_words, start_words

STARTED = RunStarted(RUN, "spec", "model", 7, 40, True)


def said(event: Event) -> tuple[str, str]:
    return describe(event.kind, event.payload())


def stepped(step: int, **fields: Any) -> TrainingStepped:
    told: dict[str, Any] = {
        "training_id": "sft-1", "step": step, "planned_steps": 9, "loss": 2.0 / step, "heldout_loss": None,
        "reward_margin": None, "tokens_per_s": 320.0, "memory_bytes": 2 * GIB,
    }  # fmt: skip
    return TrainingStepped(RUN, **(told | fields))


def steps_of(state: RunState, now: list[float], view: Any, each_s: float = 5.0) -> None:
    """Three of nine steps."""
    for event in (STARTED, PhaseStarted(RUN, "sft", 9), TrainingStarted(RUN, "sft-1", "sft", 9, 0, 69, "CPU")):
        state.apply(event)
        view.tell(event)
    for step in (1, 2, 3):
        now[0] += each_s
        for told in (stepped(step), PhaseProgressed(RUN, "sft", step, 9, None)):
            state.apply(told)
            view.tell(told)
        view.tick()


def text_of(renderable: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=120, force_terminal=False).print(renderable)
    return out.getvalue()


# -- events ------------------------------------------------------------------------------------------------------------


def test_a_training_is_told_from_its_beginning_to_its_end() -> None:
    begun = TrainingStarted(RUN, "sft-1", "sft", 9, 0, 69, "CPU")
    assert said(begun) == ("info", "SFT training sft-1 begins: 9 steps on CPU, 69 examples")
    again = TrainingStarted(RUN, "sft-1", "sft", 9, 4, 69, "CPU")
    assert said(again)[1] == "SFT training sft-1 goes on from step 4 of 9 on CPU, 69 examples"
    assert said(stepped(3)) == ("", "")
    assert said(CheckpointSaved(RUN, "sft-1", 5, 45 * 2**20)) == ("info", "Checkpoint of step 5 saved (45 MiB)")
    assert said(TrainingFinished(RUN, "dpo-1", "dpo", "done", "")) == ("info", "DPO training dpo-1 done")
    told = said(TrainingFinished(RUN, "dpo-1", "dpo", "stopped", "kept at step 5"))
    assert told == ("info", "DPO training dpo-1 stopped: kept at step 5")
    assert said(TrainingFinished(RUN, "dpo-1", "dpo", "failed", "a NaN"))[0] == "error"


def test_a_shut_lock_is_no_failed_gate() -> None:
    with pytest.raises(Locked) as shut:
        require_open([Lock("enough examples", False, "12 of 16", "Take the run further.")])
    reason = f"{shut.value.title}. {shut.value.hint}"
    assert reason.startswith(LOCKED), "the screen tells a lock by how its reason begins"
    finished = RunFinished(RUN, "gate_failed", reason, 2, 3.0)
    level, text = said(finished)
    assert level == "warning" and text.startswith("Training is locked: enough examples") and "Take the run" in text
    state = beside(RUN, ["sft"])
    state.apply(STARTED)
    state.apply(finished)
    assert state.state == "locked" and state.phase("gate").state == "pending"
    assert said(RunFinished(RUN, "gate_failed", "token_limit", 2, 3.0))[1] == "Run gate failed: token_limit"


def test_the_state_follows_steps_and_tells_the_time_left() -> None:
    now = [100.0]
    state = RunState(clock=lambda: now[0])
    for event in (STARTED, PhaseStarted(RUN, "sft", 9)):
        state.apply(event)
    assert state.trains == ("sft",) and state.trainings.latest is None
    state.apply(TrainingStarted(RUN, "sft-1", "sft", 9, 2, 69, "CPU"))
    one = state.trainings.of("sft")
    assert one is not None and state.phase("sft").done == 2 and one.eta_s is None
    for step in (3, 4):
        now[0] += 10
        state.apply(stepped(step))
    now[0] += 90  # the held-out loss takes long and is no step
    state.apply(stepped(4, heldout_loss=1.5))
    now[0] += 10
    state.apply(stepped(5))
    assert one.eta_s == pytest.approx(4 * 10.0)
    assert one.heldout_loss == 1.5 and len(one.losses) == 3
    state.apply(RunResumed(RUN))
    assert one.eta_s is None, "a pause would be taken for slowness"
    state.apply(TrainingFinished(RUN, "sft-1", "sft", "stopped", "kept"))
    assert one.state == "stopped" and state.trainings.of("dpo") is None
    assert one.figures() == ["loss 0.4000", "held-out 1.5000", "320 tok/s"]


def test_steps_wait_for_the_next_repaint_and_none_is_lost() -> None:
    posted: list[object] = []
    bridge = Bridge(posted.append)
    for step in (1, 2, 3):
        bridge.emit(stepped(step))
    assert not posted and [event.step for event in bridge.drain()] == [1, 2, 3]  # type: ignore[attr-defined]


def test_plain_lines_tell_loss_speed_and_time_left() -> None:
    now = [0.0]
    out = io.StringIO()
    state = RunState(clock=lambda: now[0])
    steps_of(state, now, PlainView(Console(file=out, width=120), state, clock=lambda: now[0]))
    lines = [line for line in out.getvalue().splitlines() if "step" in line and "loss" in line]
    assert lines[-1].endswith("SFT step 3/9 · loss 0.6667 · 320 tok/s · 30 s left")
    assert "TrainingStepped" not in out.getvalue()


def test_bars_show_only_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    now = [0.0]
    out = io.StringIO()
    state = RunState(clock=lambda: now[0])
    view = LiveView(Console(file=out, force_terminal=True, width=110), state)
    steps_of(state, now, view)
    view.close()
    last = out.getvalue().split("SFT")[-1]
    assert "loss 0.6667" in last and "320 tok/s" in last and "left" in last
    assert "Critic audit" not in last and "accepted" not in last


def test_phases_stand_in_their_order_whatever_came_first() -> None:
    state = beside(RUN, ["sft"])
    state.apply(STARTED)
    state.apply(PhaseStarted(RUN, "sft", 9))
    phases = [{"name": name, "state": "done", "done": 1} for name in (*list(state.phases)[:7], "revisions", "sft")]
    state.load({"run": RUN, "phases": phases})
    assert list(state.phases)[-2:] == ["revisions", "sft"] and state.phase("sft").state == "running"


# -- questions and farewells -------------------------------------------------------------------------------------------


def test_stopping_says_that_the_step_is_kept() -> None:
    asked = stop(("sft",))
    assert "kept as a checkpoint" in asked.text and asked.choices[0].value == "stop"
    left = leave(("sft",), already=False)
    assert [choice.value for choice in left.choices] == ["stop", "now", "keep"]
    assert "since the last checkpoint" in left.choices[1].label
    assert "batch" not in asked.text + left.text + leave(("sft",), already=True).text


def test_the_farewell_names_the_command_that_goes_on() -> None:
    state = beside(RUN, ["sft"], {"sft.epochs": "1.0", "adapter.target_modules": '["q", "v"]'})
    state.apply(STARTED)
    state.apply(TrainingStarted(RUN, "sft-1", "sft", 9, 0, 69, "CPU"))
    state.apply(stepped(4))
    state.apply(RunFinished(RUN, "stopped", "kept", 2, 3.0))
    told = farewell(state, "cai --store x")
    again = f"""cai --store x train sft {RUN} --set sft.epochs=1.0 --set 'adapter.target_modules=["q", "v"]'"""
    assert told == f"training of run {RUN} stopped at step 4 of 9; go on with: {again}"
    state.state = "done"
    assert farewell(state, "cai") == ""


# -- plans -------------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_is_shut_and_how_it_is_opened() -> None:
    shown = text_of(training_plan_report(plan(shut=("enough examples",))))
    assert "SFT sft-new  one lock is shut" in shown
    assert (
        "✗ enough examples: 12 to train on ␛[2J" in shown and "to open it: Do something for enough examples." in shown
    )
    assert "✓ the guard passed: it is so" in shown
    assert "69 to learn from, 4 held out" in shown and "27 of 8 examples, 3 epochs" in shown
    assert "5.1 GiB of the device's 16.0 GiB" in shown and "logits 3.00; 8 examples at once" in shown
    assert "sft.learning_rate      0.0002" in shown and "sft.packing            no" in shown
    assert "2 locks are shut" in text_of(training_plan_report(plan(shut=("enough examples", "the guard passed"))))
    assert "can begin" in text_of(training_plan_report(plan("dpo")))
    assert "is trained already" in text_of(training_plan_report(plan("dpo", done=True)))


def test_memory_in_words() -> None:
    assert memory_words(None) == ("not known until the model's files are here", "", True)
    told, parts, fits = memory_words(memory(None, micro_batch=1, gradient_checkpointing=True))
    assert "is not known" in told and parts.endswith("; 1 example at once, activations computed again") and fits
    told, _, fits = memory_words(memory(4 * GIB, fits=False))
    assert told == "5.1 GiB of the device's 4.0 GiB: more than fits" and not fits
    _, parts, _ = memory_words(memory(reference=2 * GIB, reference_batch=32))
    assert parts.endswith("; 8 examples at once; before it the reference, 32 at once, 2.00")


def test_where_a_training_stands() -> None:
    assert stands_words(plan(stands=None)) == "begins anew"
    stopped = {"state": "stopped", "reason": "", "step": 11}
    assert stands_words(plan(stands=stopped)) == "goes on from step 11 of 27"
    assert "no checkpoint was reached" in stands_words(plan(stands=stopped | {"step": 0}))
    assert "already" in stands_words(plan(done=True))
    assert start_words(plan("dpo")) == "the adapter of sft-1"
    assert "not trained yet" in start_words(plan("dpo", start=None))
    assert any("beta 0.1, reference computed once before training" in line for line in settings_words(plan("dpo")))


# -- what came out -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.duckdb"
    fill(path)
    steps = [rows.training_step(at, heldout_loss=1.5 if at == 10 else None) for at in range(1, 11)]
    with Store.open(path) as opened:
        opened.append({"trainings": [finished_training()], "training_steps": steps})
    return path


def test_the_outcome_tells_what_was_trained_and_what_is_next(store: Path) -> None:
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        status = reader.status(RUN) | {"trainings": training_accounts(reader, RUN, ["sft-1"])}
        assert training_accounts(reader, RUN, []) == []
    shown = text_of(training_outcome(status, ("sft",), 0, "sft trained in 10 steps", store, None, "cai x"))
    assert "sft-1  ✓ done" in shown and "10 of 10 steps on 69 examples, 3:53" in shown
    assert "2.0000 → 1.1000 nats" in shown and "1.3800 → 1.5000 nats" in shown
    assert "s.trainings/run-a/sft-1/adapter" in shown.replace("\n", "")
    assert f"cai train dpo {RUN}" in shown and f"cai merge {RUN} --what sft --out DIR" in shown


def test_what_is_next_follows_from_how_it_ended() -> None:
    status = {"run": RUN}
    assert not any("train dpo" in line for line in what_next(status, ("sft", "dpo"), 0, "", "cai x"))
    locked = "training is locked: an SFT adapter. Train it first: `cai train sft`."
    told = what_next(status, ("dpo",), 4, locked, f"cai train dpo {RUN}")
    assert "cai train sft" in told[0] and told[-1].endswith(f"cai train dpo {RUN} --plan")
    go_on = f"cai train sft {RUN} --set sft.epochs=1.0"
    assert what_next(status, ("sft",), 130, "kept at step 5", go_on)[-1].endswith(go_on)
    assert what_next(status, ("sft", "dpo"), 1, "killed", go_on)[-1].endswith(go_on)


def test_merged_weights_come_with_their_drift() -> None:
    drift = {"prompts": 8, "largest_logit": 3.1e-5, "largest_logprob": 1.2e-5, "same_top1": 1.0}
    found = {
        "run": RUN,
        "training": "dpo-1",
        "out": "/x",
        "dtype": "float32",
        "files": 4,
        "n_bytes": GIB,
        "way": "file by file",
        "why": None,
        "trained_on": None,
        "drift": drift,
    }
    shown = text_of(merge_report(found))
    assert "4 files, 1.0 GiB, float32" in shown and "8 prompts: logits within 3.10e-05" in shown and "100.0 %" in shown
    assert [mebibytes(size) for size in (900, 45 * 2**20)] == ["1 kiB", "45 MiB"]
    missing = {"why": "131 GiB, 60 GiB are free", "command": f"cai merge {RUN} --what dpo-1 --out /x --drift"}
    more = {"drift": None, "not_measured": missing, "trained_on": "trained beside base weights in nf4"}
    shown = text_of(merge_report(found | more))
    assert "not measured: 131 GiB, 60 GiB are free" in shown and missing["command"] in shown and "nf4" in shown
