"""SFT on 64 examples and DPO on 32 pairs with the real base model: headless, on the screen, and what it changed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from engine.critics import DATA
from engine.models import Decoding, Generate, Score, load
from engine.spec import load_spec
from engine.training import adapters
from store import Store
from tests.e2e.conftest import CAI, cai
from tests.e2e.terminal import Terminal
from tests.engine.training_run import RUN, trainable_store

pytestmark = [
    pytest.mark.e2e, pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(1800),
    pytest.mark.xdist_group("training_e2e"),
]  # fmt: skip

CHANGED = {
    "gate.audited_critics_at_least": "0", "pairs.audited_critics_at_least": "0", "pairs.hard_negative": "1.0",
    "pairs.best_of": "1.0", "pairs.pairs_at_least": "4", "pairs.chosen_longer_at_most": "1.0",
    "gate.median_tokens_below": "400", "sft.epochs": "2.0", "dpo.heldout_share": "0.0", "sft.patience": "0",
}  # fmt: skip


def texts() -> tuple[list[dict[str, str]], list[str]]:
    """Good pairs of the calibration set, and bad responses to put beside them."""
    rows = [json.loads(line) for line in (DATA / "calibration_pairs.jsonl").read_text().splitlines()]
    own = [json.loads(line) for line in (DATA / "own_pairs.jsonl").read_text().splitlines()]
    good = [row for row in [*rows, *own] if row["label"] == "good"]
    return good, [row["response"] for row in rows if row["label"] == "bad"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = load_spec("stage_6_small_model", CHANGED).settings
    good, bad = texts()
    path = tmp_path_factory.mktemp("training") / "a.duckdb"
    base = load(None)
    fingerprint = base.fingerprint
    base.close()
    return trainable_store(
        path, Path("gemma-3-270m"), spec, examples=64, pairs=32, fingerprint=fingerprint,
        texts=[(row["instruction"], row["response"]) for row in good], worse=bad,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(store: Path) -> dict[str, Any]:
    """Both trainings without a screen, and how long they took."""
    began = time.monotonic()
    answers = {}
    for kind in ("sft", "dpo"):
        done = cai("train", kind, "--headless", "--json", "--store", str(store))
        assert done.returncode == 0, done.stdout + done.stderr
        answers[kind] = json.loads(done.stdout)
    return {"seconds": time.monotonic() - began, **answers}


def query(store: Path, sql: str) -> list[dict[str, Any]]:
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        return reader.query(sql)


def test_sft_on_64_examples_and_dpo_on_32_pairs(store: Path, trained: dict[str, Any]) -> None:
    assert trained["seconds"] < 15 * 60
    found = {row["method"]: row for row in query(store, "SELECT * FROM trainings")}
    assert json.loads(found["sft"]["facts"])["examples"] == 64 and json.loads(found["dpo"]["facts"])["examples"] == 32
    assert {row["state"] for row in found.values()} == {"done"}
    held_out = query(store, "SELECT heldout_loss FROM training_steps WHERE heldout_loss IS NOT NULL ORDER BY step")
    assert held_out[-1]["heldout_loss"] < found["sft"]["heldout_before"]
    steps = query(store, "SELECT s.* FROM training_steps s JOIN trainings t USING (run_id, training_id) "
                         "WHERE t.method = 'dpo' ORDER BY step")  # fmt: skip
    assert steps[0]["loss"] == pytest.approx(0.6931, abs=2e-3) and abs(steps[0]["reward_margin"]) < 5e-3
    assert steps[-1]["reward_margin"] > 0.0
    for row in steps:
        assert row["n_tokens"] > 0 and row["seconds"] > 0 and row["memory_bytes"] > 0 and row["grad_norm"] > 0


def test_the_adapters_reload_lower_the_loss_on_what_was_trained_and_change_answers(
    store: Path, trained: dict[str, Any]
) -> None:
    good, _ = texts()
    asked = [Score(f"Instruction: {row['instruction']}\nResponse:", (f" {row['response']}",)) for row in good[:16]]
    prompts = [Generate(f"Instruction: {row['instruction']}\nResponse:", Decoding(16), seed=1) for row in good[:6]]
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        found = {kind: adapters.of_run(reader, RUN, kind) for kind in ("sft", "dpo")}
    model = load(None)
    try:
        losses, answers = {}, {}
        for name in ("base", "sft", "dpo"):
            adapter = found.get(name)
            model.use(adapter and adapter.folder, adapter.sha256 if adapter else "")
            scores = list(model.score(asked))
            losses[name] = -sum(s.logprobs[0] for s in scores) / sum(s.n_tokens[0] for s in scores)
            answers[name] = sorted(done.request.prompt + done.text for done in model.generate(prompts))
    finally:
        model.close()
    assert losses["sft"] < losses["base"] - 0.05, losses
    assert answers["sft"] != answers["base"] and losses["dpo"] != losses["sft"]


def test_merging_says_how_far_it_drifts(store: Path, trained: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "merged"
    done = cai("merge", "--what", "sft", "--out", str(out), "--json", "--store", str(store))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (out / "config.json").is_file() and found["drift"]["prompts"] == 6
    assert 0 < found["drift"]["largest_logprob"] < 1.0 and found["drift"]["same_top1"] >= 5


def test_a_person_trains_on_the_screen(store: Path, trained: dict[str, Any]) -> None:
    """Another rate makes another training, begun, watched and stopped with keys."""
    words = ["train", "sft", "--set", "sft.learning_rate=0.0001", "--no-tmux", "--store", str(store)]
    screen = Terminal([CAI, *words])
    screen.wait_for("cai run", timeout=60)
    screen.press("5")
    screen.wait_for("▶ running", "grad norm", "tok/s", timeout=240)
    screen.press("s")
    screen.wait_for("keep it and stop", timeout=20)
    screen.press("y")
    screen.wait_for("■ stopped", timeout=120)
    screen.press("q")
    screen.wait_for_end(timeout=60)
    rows = query(store, "SELECT state, reason FROM trainings WHERE method = 'sft' ORDER BY started_at")
    assert rows[-1]["state"] == "stopped" and "kept at step" in rows[-1]["reason"]
    done = cai("train", "sft", "--set", "sft.learning_rate=0.0001", "--headless", "--store", str(store))
    assert done.returncode == 0, done.stdout + done.stderr
