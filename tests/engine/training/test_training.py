"""Training on a tiny model, through the real process: stops, resumes, kills, damage, and what each leaves behind."""

from __future__ import annotations

import errno
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.analyses.offers import training_plan
from engine.core.events import Event
from engine.models import adapters, checkpoints
from engine.run.engine import Engine
from store.db import Store
from tests.engine.training.training_run import (
    RUN,
    InProcess,
    decide_gates,
    losses,
    notes,
    patched,
    settings,
    tiny_model,
    train,
    trainable_store,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def path(tmp_path: Path, model: Path) -> Path:
    return trainable_store(tmp_path / "a.duckdb", model, settings())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Any:
    """One run, SFT and DPO without any interruption: what the others are compared with."""
    path = trainable_store(tmp_path_factory.mktemp("whole") / "a.duckdb", model, settings())
    opened = train(path, "sft", "dpo")
    yield opened
    opened.close()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """For faults that are put in by replacing a function."""
    import engine.phases.training as phase

    monkeypatch.setattr(phase, "Worker", InProcess)
    return monkeypatch


def rows(opened: Engine, sql: str) -> list[dict[str, Any]]:
    with opened.store.reader() as reader:
        return reader.query(sql)


def child_of(store: Path) -> psutil.Process:
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if ("engine.training.child" in line or "patched.py" in line) and str(store.parent) in line:
            return process
    raise AssertionError("there is no training process")


def test_sft_and_dpo_leave_rows_adapters_and_cards(whole: Engine) -> None:
    assert whole.outcome is not None and whole.outcome.state == "done", whole.outcome
    found = {row["method"]: row for row in rows(whole, "SELECT * FROM trainings")}
    assert set(found) == {"sft", "dpo"} and {row["state"] for row in found.values()} == {"done"}
    assert found["dpo"]["start_training"] == found["sft"]["training_id"]
    sft, dpo = losses(whole), losses(whole, "dpo")
    assert [step for step, *_ in sft] == list(range(1, 25))
    assert sum(loss for _, loss, _ in sft[-3:]) < sum(loss for _, loss, _ in sft[:3])
    # Before its first step the policy is its own reference: the loss is ln 2 and the margin nothing.
    first = rows(whole, "SELECT * FROM training_steps JOIN trainings USING (run_id, training_id) WHERE method = 'dpo' "
                        "ORDER BY step LIMIT 1")[0]  # fmt: skip
    assert dpo[0][1] == pytest.approx(0.6931, abs=1e-3) and first["reward_margin"] == pytest.approx(0.0, abs=1e-3)
    held_out = rows(whole, "SELECT heldout_loss FROM training_steps JOIN trainings USING (run_id, training_id) "
                           "WHERE method = 'sft' AND heldout_loss IS NOT NULL ORDER BY step")  # fmt: skip
    assert held_out[-1]["heldout_loss"] < found["sft"]["heldout_before"]
    for row in found.values():
        folder = whole.store.path.parent / row["adapter_path"]
        assert checkpoints.tree_sha256(folder) == row["adapter_sha256"]
        names = {file.name for file in folder.iterdir()}
        assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "README.md", "manifest.json",
                "metrics.jsonl"} <= names  # fmt: skip
        card = (folder / "README.md").read_text()
        assert row["training_id"] in card and row["data_sha256"] in card
        assert "chat_template" not in (folder / "tokenizer_config.json").read_text()
    examples = rows(whole, "SELECT split, count(*) AS n, bool_and(used) AS used FROM training_examples e "
                           "JOIN trainings t USING (run_id, training_id) WHERE method = 'sft' GROUP BY 1 ORDER BY 1")  # fmt: skip
    assert examples == [{"split": "heldout", "n": 3, "used": True}, {"split": "train", "n": 24, "used": True}]


def test_the_first_batch_is_kept_as_text(whole: Engine) -> None:
    for row in rows(whole, "SELECT method, first_batch FROM trainings"):
        batch = json.loads(row["first_batch"])
        assert batch
        for one in batch:
            assert one["masked"].startswith("<bos>Instruction: ") and one["masked"].endswith("Response:")
            assert one["learned"].startswith(" ") and one["learned"].endswith(".<eos>")


def test_the_same_training_is_not_done_twice(whole: Engine) -> None:
    before = rows(whole, "SELECT count(*) AS n FROM training_steps")
    with whole.store.reader() as reader:
        assert training_plan(reader, RUN, "sft")["done"]
        changed = training_plan(reader, RUN, "sft", {"sft.learning_rate": "0.02"})
    assert not changed["done"]
    assert rows(whole, "SELECT count(*) AS n FROM training_steps") == before


def test_stopped_and_resumed_five_times_it_ends_as_if_it_never_was(path: Path, whole: Engine) -> None:
    rng = random.Random(5)
    stops, before = [rng.randint(first, first + 2) for first in (1, 5, 9, 13, 17)], 0
    for at in stops:

        def stop(engine: Engine, event: Event, at: int = at) -> None:
            if event.kind == "TrainingStepped" and event.payload()["step"] >= at:
                engine.stop()

        # A step that takes a moment, so that the stop falls where it is aimed.
        opened = train(path, "sft", command=patched(path.parent, SLOW_STEPS), on_event=stop)
        outcome, reached = opened.outcome, losses(opened)[-1][0]
        opened.close()
        assert outcome is not None and outcome.state == "stopped"
        assert at <= reached <= max(at, before + 1) + 1  # within one step
        before = reached
    opened = train(path, "sft")
    found, state = losses(opened), rows(opened, "SELECT state, elapsed_s FROM trainings")
    opened.close()
    assert state[0]["state"] == "done"
    expected = losses(whole)
    assert [step for step, *_ in found] == [step for step, *_ in expected]
    for (step, loss, norm), (_, loss_0, norm_0) in zip(found, expected, strict=True):
        assert loss == pytest.approx(loss_0, rel=1e-5), f"step {step}"
        assert norm == pytest.approx(norm_0, rel=1e-4), f"step {step}"


SLOW_STEPS = """
import time, transformers
before = transformers.Trainer.training_step
def slowly(self, *args, **kwargs):
    time.sleep(0.25)
    return before(self, *args, **kwargs)
transformers.Trainer.training_step = slowly
"""


def test_a_killed_process_is_told_of_and_training_goes_on(path: Path, whole: Engine) -> None:
    def kill(engine: Engine, event: Event) -> None:
        if event.kind == "TrainingStepped" and event.payload()["step"] == 6:
            child_of(path).send_signal(signal.SIGKILL)

    opened = train(path, "sft", command=patched(path.parent, SLOW_STEPS), on_event=kill)
    outcome, row = opened.outcome, rows(opened, "SELECT state, reason FROM trainings")[0]
    run = rows(opened, "SELECT state FROM runs")[0]
    opened.close()
    assert outcome is not None and outcome.state == "failed" and "killed (signal 9)" in outcome.reason
    assert row["state"] == "failed" and "killed" in row["reason"]
    assert run["state"] == "done"  # the data is as good as before
    opened = train(path, "sft")
    for found, expected in zip(losses(opened), losses(whole), strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    opened.close()


def test_a_process_whose_engine_is_gone_keeps_its_step_and_ends(path: Path, whole: Engine) -> None:
    import subprocess
    import sys

    program = (
        "import sys; from pathlib import Path; from tests.engine.training.training_run import *\n"
        f"train(Path(sys.argv[1]), 'sft', command=patched(Path(sys.argv[1]).parent, {SLOW_STEPS!r}))"
    )
    root = Path(__file__).parents[3]
    engine = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=root)
    journal = None
    until = time.monotonic() + 90
    while time.monotonic() < until:
        found = list(path.parent.glob("a.trainings/*/*/journal.jsonl"))
        if found and found[0].read_text().count('"kind": "step"') >= 3:
            journal = found[0]
            break
        time.sleep(0.05)
    assert journal is not None, "no step was reported"
    child = child_of(path)
    engine.kill()
    engine.wait()
    child.wait(timeout=30)  # it ends by itself
    newest, damaged = checkpoints.newest(journal.parent)
    assert newest is not None and not damaged
    last = [json.loads(line) for line in journal.read_text().splitlines() if line][-1]
    assert (last["kind"], last["why"], last["step"]) == ("finished", "stopped", newest.step)
    opened = train(path, "sft")
    for got, expected in zip(losses(opened), losses(whole), strict=True):
        assert got == pytest.approx(expected, rel=1e-4)
    opened.close()


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    path: Path, whole: Engine, in_process: pytest.MonkeyPatch
) -> None:
    def stop(engine: Engine, event: Event) -> None:
        if event.kind == "TrainingStepped" and event.payload()["step"] == 10:
            engine.stop()

    with in_process.context() as patch:
        each_step(patch, lambda trainer, inputs, go_on: (time.sleep(0.1), go_on())[1])
        train(path, "sft", on_event=stop).close()
    places = sorted(path.parent.glob("a.trainings/*/*/checkpoints/step-*"))
    assert len(places) >= 2
    broken = places[-1] / "optimizer.pt"
    broken.write_bytes(broken.read_bytes()[:-40] + b"\0" * 40)
    opened = train(path, "sft")
    assert f"{places[-1].name} is damaged, optimizer.pt is not what was written" in notes(opened)
    for got, expected in zip(losses(opened), losses(whole), strict=True):
        assert got == pytest.approx(expected, rel=1e-4)
    opened.close()


def test_a_full_disk_stops_it_with_the_last_checkpoint_intact(path: Path, in_process: pytest.MonkeyPatch) -> None:
    seal = checkpoints.seal

    def full(aside: Path, folder: Path, step: int, loss: float | None) -> checkpoints.Checkpoint:
        if step > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return seal(aside, folder, step, loss)

    with in_process.context() as patch:
        patch.setattr(checkpoints, "seal", full)
        opened = train(path, "sft")
    outcome = opened.outcome
    opened.close()
    assert outcome is not None and outcome.state == "failed"
    assert "could not be written" in outcome.reason and "Kept up to step 4" in outcome.reason
    opened = train(path, "sft")
    assert opened.outcome is not None and opened.outcome.state == "done"
    assert not list(path.parent.glob("a.trainings/*/*/checkpoints/.partial/*"))
    opened.close()


def each_step(patch: pytest.MonkeyPatch, what: Callable[[Any, Any, Any], Any]) -> None:
    """Have `what(trainer, inputs, go_on)` in the place of the trainer's work on each batch."""
    import transformers

    before = transformers.Trainer.training_step

    def step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return what(self, inputs, lambda: before(self, model, inputs, *args, **kwargs))

    patch.setattr(transformers.Trainer, "training_step", step)


def test_a_loss_that_is_no_number_is_refused(path: Path, in_process: pytest.MonkeyPatch) -> None:
    each_step(
        in_process, lambda trainer, inputs, go_on: go_on() * (float("nan") if trainer.state.global_step == 5 else 1)
    )
    opened = train(path, "sft")
    outcome = opened.outcome
    assert outcome is not None and outcome.state == "failed"
    assert "the loss is no number any more at step 6" in outcome.reason and "Kept up to step 4" in outcome.reason
    assert [step for step, *_ in losses(opened)] == [1, 2, 3, 4, 5]
    opened.close()


def test_used_up_memory_halves_the_micro_batch_and_keeps_the_effective_one(
    path: Path, in_process: pytest.MonkeyPatch
) -> None:
    import torch

    def hungry(trainer: Any, inputs: Any, go_on: Any) -> Any:
        if trainer.state.global_step >= 2 and len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return go_on()

    each_step(in_process, hungry)
    opened = train(path, "sft")
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    told = notes(opened)
    assert "goes on with 2 examples at once and 2 times the accumulation; the effective batch stays 4" in told
    facts = json.loads(rows(opened, "SELECT facts FROM trainings")[0]["facts"])
    assert facts["micro_batches"] == [4, 2] and facts["accumulation"] == 2
    assert len(losses(opened)) == 24
    # It went on from the last step, not from the last checkpoint: steps 1 and 2 were done once.
    started = [event.payload()["done_steps"] for event in opened.seen if event.kind == "TrainingStarted"]  # type: ignore[attr-defined]
    assert started == [0, 2]
    opened.close()


def test_memory_that_no_batch_fits_ends_after_three_halvings(path: Path, in_process: pytest.MonkeyPatch) -> None:
    import torch

    def hungry(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    each_step(in_process, hungry)
    opened = train(path, "sft", sft__effective_batch="16")
    outcome = opened.outcome
    facts = json.loads(rows(opened, "SELECT facts FROM trainings")[0]["facts"])
    opened.close()
    assert outcome is not None and outcome.state == "failed" and "memory is used up" in outcome.reason
    assert facts["micro_batches"] == [16, 8, 4, 2]


def test_an_example_that_is_too_long_is_left_out_by_name(path: Path, in_process: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store, store.reader() as reader:
        sample = reader.query("SELECT * FROM samples WHERE sample_id = 's003'")[0]
        store.put({"samples": [sample | {"response": "The amber is basin. " * 60, "trimmed": []}]})
        decide_gates(store, reader, settings())
    opened = train(path, "sft")
    assert "1 train examples are longer than 256 tokens and left out, such as s003" in notes(opened)
    unused = rows(opened, "SELECT example_id FROM training_examples WHERE NOT used")
    assert unused == [{"example_id": "s003"}]
    opened.close()


def test_a_process_that_says_nothing_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine.phases.training as phase

    monkeypatch.setattr(phase, "SILENT_S", 2.0)
    opened = train(path, "sft", command=patched(path.parent, "import time; time.sleep(600)"))
    assert opened.outcome is not None and "has said nothing for 2 s" in opened.outcome.reason
    opened.close()


def test_a_pause_holds_within_a_step(path: Path) -> None:
    held: list[int] = []

    def pause(engine: Engine, event: Event) -> None:
        if event.kind == "TrainingStepped" and event.payload()["step"] == 3 and not held:
            held.append(3)
            engine.pause()
            import threading

            def go_on() -> None:
                time.sleep(3.0)
                with engine.store.reader() as reader:
                    state = reader.query("SELECT state FROM trainings")[0]["state"]
                    last = reader.query("SELECT max(step) AS step FROM training_steps")[0]["step"]
                held.extend([last, state])
                engine.resume()

            threading.Thread(target=go_on).start()

    opened = train(path, "sft", command=patched(path.parent, SLOW_STEPS), on_event=pause)
    assert opened.outcome is not None and opened.outcome.state == "done"
    assert held[1] <= 4 and held[2] == "paused"
    assert len(losses(opened)) == 24
    opened.close()


@pytest.mark.parametrize("loss", ["ipo", "kto", "orpo", "simpo"])
def test_each_loss_that_is_named_trains(
    loss: str, tmp_path: Path, whole: Engine, in_process: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(whole.store.path.parent / "a.trainings", tmp_path / "a.trainings")
    with whole.store.reader() as reader:
        tables = [row["table_name"] for row in reader.query("SELECT table_name FROM information_schema.tables "
                                                            "WHERE table_type = 'BASE TABLE'")]  # fmt: skip
        kept = {
            name: reader.query(f"SELECT * FROM {name}") for name in tables if name not in ("schema_version", "events")
        }
    copy = tmp_path / "a.duckdb"
    with Store.open(copy) as store:
        store.append({name: found for name, found in kept.items() if found and name in store._tables})
    opened = train(copy, "dpo", dpo__loss=loss, dpo__epochs="3.0")
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    found = losses(opened, loss)
    assert found and all(norm > 0 for *_, norm in found)
    row = rows(opened, f"SELECT * FROM trainings WHERE method = '{loss}'")[0]
    assert json.loads(row["first_batch"])[0]["learned"].endswith(".<eos>")
    # One pair's margin is noise at this size; the loss over the last steps is not.
    assert sum(loss for _, loss, _ in found[-3:]) < sum(loss for _, loss, _ in found[:3])
    margins = rows(opened, "SELECT reward_margin FROM training_steps JOIN trainings USING (run_id, training_id) "
                           f"WHERE method = '{loss}' AND reward_margin IS NOT NULL")  # fmt: skip
    assert len(margins) == len(found)
    opened.close()


def test_an_adapter_that_was_changed_is_refused(whole: Engine, tmp_path: Path) -> None:
    import shutil

    from engine.core.errors import TrainingError

    with whole.store.reader() as reader:
        found = adapters.of_run(reader, RUN, "sft")
    assert found is not None
    adapters.require_whole(found)
    shutil.copytree(found.folder, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    moved = adapters.Adapter(found.training_id, found.method, tmp_path / "adapter", found.sha256)
    with pytest.raises(TrainingError, match="was changed since it was trained"):
        adapters.require_whole(moved)


def test_two_processes_train_what_one_does(path: Path, model: Path) -> None:
    from engine.training.worker import command_for

    opened = train(path, "sft", command=command_for("cpu_2"), sft__epochs="1.0", adapter__dropout="0.0")
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    facts = json.loads(rows(opened, "SELECT facts FROM trainings")[0]["facts"])
    assert facts["processes"] == 2 and facts["micro_batch"] == 2
    two = losses(opened)
    opened.close()
    with Store.open(path) as store, store.reader() as reader:
        tokens = [row["n_tokens"] for row in reader.query("SELECT n_tokens FROM training_steps ORDER BY step")]
    other = trainable_store(path.with_name("b.duckdb"), model, settings())
    alone = train(other, "sft", sft__epochs="1.0", adapter__dropout="0.0")
    assert [row["n_tokens"] for row in rows(alone, "SELECT n_tokens FROM training_steps ORDER BY step")] == tokens
    one = losses(alone)
    alone.close()
    assert [step for step, *_ in two] == [step for step, *_ in one] == list(range(1, 7))
    for (step, loss, norm), (_, loss_1, norm_1) in zip(two, one, strict=True):
        assert loss == pytest.approx(loss_1, rel=1e-3), f"step {step}"
        assert norm == pytest.approx(norm_1, rel=1e-2), f"step {step}"


def test_packed_examples_train_with_their_masks(path: Path, in_process: pytest.MonkeyPatch) -> None:
    opened = train(path, "sft", sft__packing="true", sft__max_length="64", sft__epochs="2.0")
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    batch = json.loads(rows(opened, "SELECT first_batch FROM trainings")[0]["first_batch"])
    assert len(batch) > 1
    for one in batch:
        assert one["masked"].startswith("<bos>Instruction: ") and one["learned"].endswith(".<eos>")
    # Two or three examples in a row of 64 tokens: fewer steps than the 12 of single ones.
    assert 2 <= len(losses(opened)) < 12
    opened.close()


def test_patience_ends_it_and_the_adapter_is_that_of_the_best_step(path: Path, in_process: pytest.MonkeyPatch) -> None:
    # A rate that ruins the model after the first steps.
    opened = train(path, "sft", sft__learning_rate="3.0", sft__schedule="constant", sft__patience="2",
                   sft__checkpoint_every="1", sft__epochs="6.0")  # fmt: skip
    row = rows(opened, "SELECT state, reason, adapter_step, heldout_before FROM trainings")[0]
    measured = {
        one["step"]: one["heldout_loss"]
        for one in rows(opened, "SELECT step, heldout_loss FROM training_steps ORDER BY step")
    }
    assert row["state"] == "done" and row["reason"] == "ended early: no better held-out loss"
    best = min(measured, key=lambda step: measured[step])
    assert row["adapter_step"] == best == max(measured) - 2
    folder = opened.store.path.parent / rows(opened, "SELECT adapter_path FROM trainings")[0]["adapter_path"]
    kept = folder.parent / "checkpoints" / f"step-{best:08d}" / "adapter_model.safetensors"
    assert (folder / "adapter_model.safetensors").read_bytes() == kept.read_bytes()
    opened.close()


def test_what_this_machine_cannot_do_is_said(path: Path, in_process: pytest.MonkeyPatch) -> None:
    opened = train(path, "sft", adapter__kind="qlora")
    assert opened.outcome is not None and "QLoRA needs a GPU" in opened.outcome.reason
    assert "Set adapter.kind=lora" in opened.outcome.reason
    assert "loader: plain, since Unsloth is not installed" in notes(opened)
    opened.close()
