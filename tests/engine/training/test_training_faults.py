"""Training on a tiny model when something is wrong: losses, memory, lengths, silence, changed files; and each setting."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from engine.core.events import Event
from engine.models import adapters
from engine.run.engine import Engine
from store.db import Store
from tests.engine.training.conftest import SLOW_STEPS, copied, each_step, rows
from tests.engine.training.training_run import (
    RUN,
    decide_gates,
    losses,
    notes,
    patched,
    settings,
    train,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]


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


def test_used_up_memory_computes_again_then_halves_and_keeps_the_effective_batch(
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
    assert "goes on with 4 examples at once, activations computed again, accumulated over 1" in told
    assert (
        "with 2 examples at once, activations computed again, accumulated over 2; the effective batch stays 4" in told
    )
    facts = json.loads(rows(opened, "SELECT facts FROM trainings")[0]["facts"])
    assert facts["micro_batches"] == [4, 4, 2] and facts["accumulation"] == 2
    assert len(losses(opened)) == 24
    # It went on from the last step, not from the last checkpoint: steps 1 and 2 were done once.
    started = [event.payload()["done_steps"] for event in opened.seen if event.kind == "TrainingStarted"]  # type: ignore[attr-defined]
    assert started == [0, 2, 2]
    opened.close()


def test_memory_that_no_batch_fits_ends_when_nothing_smaller_is_left(
    path: Path, in_process: pytest.MonkeyPatch
) -> None:
    import torch

    def hungry(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    each_step(in_process, hungry)
    opened = train(path, "sft", sft__effective_batch="16")
    outcome = opened.outcome
    facts = json.loads(rows(opened, "SELECT facts FROM trainings")[0]["facts"])
    opened.close()
    assert outcome is not None and outcome.state == "failed" and "memory is used up" in outcome.reason
    assert facts["micro_batches"] == [16, 16, 8, 4, 2, 1]


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


def test_a_reference_computed_before_training_has_a_batch_of_its_own(
    tmp_path: Path, whole: Engine, in_process: pytest.MonkeyPatch
) -> None:
    import trl

    sizes: list[int] = []
    before = trl.DPOTrainer._precompute_ref_logps

    def computed(self: Any, dataset: Any, name: str, batch_size: int) -> Any:
        sizes.append(batch_size)
        return before(self, dataset, name, batch_size)

    in_process.setattr(trl.DPOTrainer, "_precompute_ref_logps", computed)
    opened = train(copied(whole, tmp_path), "dpo", dpo__precompute_reference="true")
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    forecast = json.loads(rows(opened, "SELECT facts FROM trainings ORDER BY started_at DESC LIMIT 1")[0]["facts"])[
        "forecast"
    ]
    assert set(sizes) == {forecast["reference_batch"]} and sizes[0] > forecast["micro_batch"]
    assert f"computing the reference's log-probabilities, {sizes[0]} pairs at once" in notes(opened)
    with opened.store.reader() as reader:
        found = reader.query(
            "SELECT s.step, t.training_id, s.loss FROM training_steps s JOIN trainings t USING (run_id, training_id) "
            "WHERE t.method = 'dpo' ORDER BY s.step, t.started_at"
        )
    opened.close()
    at_each_step, once = [row["loss"] for row in found[::2]], [row["loss"] for row in found[1::2]]
    assert len(once) == 8 and once == pytest.approx(at_each_step, abs=1e-4)


@pytest.mark.parametrize("loss", ["ipo", "kto", "orpo", "simpo"])
def test_each_loss_that_is_named_trains(
    loss: str, tmp_path: Path, whole: Engine, in_process: pytest.MonkeyPatch
) -> None:
    opened = train(copied(whole, tmp_path), "dpo", dpo__loss=loss, dpo__epochs="3.0")
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
