"""Training on a tiny model, through the real process: stops, resumes, kills, damage, and what each leaves behind."""

from __future__ import annotations

import contextlib
import errno
import json
import random
import signal
import time
from pathlib import Path

import pytest

from engine.analyses.offers import training_plan
from engine.core.events import Event
from engine.models import checkpoints
from engine.run.engine import Engine, open_engine
from engine.run.orders import Train
from engine.run.repeats import begin_repeat
from store.db import Store
from tests.engine.training.conftest import SLOW_STEPS, child_of, each_step, rows
from tests.engine.training.training_run import (
    RUN,
    losses,
    notes,
    patched,
    train,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]


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


def test_a_repeat_is_trained_on_the_data_of_its_run_with_another_seed(path: Path) -> None:
    train(path, "sft").close()
    with Store.open(path) as store:
        own = begin_repeat(store, RUN, 1)
    opened = open_engine(Train(path, own, ("sft",)), lambda event: None)
    opened.start()
    assert opened.join(240) and opened.outcome is not None
    try:
        assert opened.outcome.state == "done", opened.outcome.reason
        found = {row["run_id"]: row for row in rows(opened, "SELECT * FROM trainings")}
        first, again = found[RUN], found[own]
        assert again["data_sha256"] == first["data_sha256"] and again["adapter_sha256"] != first["adapter_sha256"]
        assert json.loads(again["facts"])["seed"] != json.loads(first["facts"])["seed"]
        assert again["settings"] == first["settings"] and f"/{own}/" in again["adapter_path"]
        states = rows(opened, "SELECT run_id, state FROM runs ORDER BY 1")
        assert {row["state"] for row in states} == {"done"} and len(states) == 2
    finally:
        opened.close()


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


def test_a_process_whose_engine_is_gone_does_not_go_on_loading(path: Path) -> None:
    import subprocess
    import sys

    forever = "import time; from engine.training import loading; loading.choose_loader = lambda *_: time.sleep(600)"
    program = (
        "import sys; from pathlib import Path; from tests.engine.training.training_run import *\n"
        f"train(Path(sys.argv[1]), 'sft', command=patched(Path(sys.argv[1]).parent, {forever!r}))"
    )
    engine = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=Path(__file__).parents[3])
    until = time.monotonic() + 90
    child = None
    while child is None and time.monotonic() < until:
        time.sleep(0.2)
        with contextlib.suppress(AssertionError):
            child = child_of(path)
    assert child is not None
    engine.kill()
    engine.wait()
    child.wait(timeout=30)


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
