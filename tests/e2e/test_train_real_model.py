"""The real base model asked, trained by SFT on 64 examples and DPO on 32 pairs, asked again, and reported on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from engine.core.data import data_file
from engine.models import adapters
from engine.models.files.embedded import GEMMA, ensure
from engine.models.files.weights import fingerprint_of
from engine.models.registry import load
from engine.models.requests import Decoding, Generate, Score
from engine.spec.stage import load_spec
from store.db import Store
from tests.e2e.conftest import CAI, cai
from tests.e2e.terminal import Terminal
from tests.engine.training.training_run import RUN, trainable_store

pytestmark = [
    pytest.mark.e2e, pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(1800),
    pytest.mark.xdist_group("training_e2e"),
]  # fmt: skip

CHANGED = {
    "gate.audited_critics_at_least": "0", "pairs.audited_critics_at_least": "0", "pairs.hard_negative": "1.0",
    "pairs.best_of": "1.0", "pairs.pairs_at_least": "4", "pairs.chosen_longer_at_most": "1.0",
    "pairs.revisions_at_least": "0", "pairs.best_of_at_least": "0", "pairs.decided_by_critic_at_least": "0",
    "gate.median_tokens_below": "400", "sft.epochs": "1.0", "dpo.heldout_share": "0.0", "sft.patience": "0",
    "evaluation.items_per_type": "1",  # in each split
    "evaluation.max_tokens": "24",
}  # fmt: skip


def texts() -> tuple[list[dict[str, str]], list[str]]:
    """Good pairs of the calibration set, and bad responses to put beside them; the shortest, since a step costs tokens."""
    rows = [json.loads(line) for line in data_file("calibration_pairs").read_text().splitlines()]
    own = [json.loads(line) for line in data_file("own_pairs").read_text().splitlines()]
    good = [row for row in [*rows, *own] if row["label"] == "good"]
    bad = [row["response"] for row in rows if row["label"] == "bad"]
    return sorted(good, key=lambda row: len(row["instruction"] + row["response"])), sorted(bad, key=len)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = load_spec("stage_6_small_model", CHANGED).settings
    good, bad = texts()
    path = tmp_path_factory.mktemp("training") / "a.duckdb"
    fingerprint = fingerprint_of(str(ensure(GEMMA)), "torch.float32")
    trainable_store(
        path, Path("gemma-3-270m"), spec, examples=64, pairs=32, fingerprint=fingerprint,
        texts=[(row["instruction"], row["response"]) for row in good], worse=bad,
    )  # fmt: skip
    with Store.open(path) as opened:
        opened.renew(RUN, {"gates": []}, only={"gates": {"gate": "gap"}})  # decided for real here
    return path


@pytest.fixture(scope="module")
def asked(store: Path) -> dict[str, Any]:
    """The base asked in three ways before any training, the gap gate decided, and the hypotheses registered."""
    refused = cai("train", "sft", "--headless", "--json", "--store", str(store))
    assert refused.returncode == 4 and "gap gate" in refused.stdout + refused.stderr
    done = cai("evaluate", "--headless", "--json", "--store", str(store))
    assert done.returncode == 0, done.stdout + done.stderr
    settled = cai("preregister", "--json", "--store", str(store))
    assert settled.returncode == 0, settled.stdout + settled.stderr
    return {"evaluation": json.loads(done.stdout)["evaluation"], "registration": json.loads(settled.stdout)}


def test_before_training_the_base_is_asked_in_three_ways(asked: dict[str, Any]) -> None:
    found = asked["evaluation"]
    assert {row["condition"] for row in found["conditions"]} == {"base_raw", "base_formatted", "base_few_shot"}
    assert {row["check_name"]: row["passed"] for row in found["gap"]} == {
        "base_raw_right": True, "base_formatted_right": True
    }  # fmt: skip
    planted = [row for row in found["audits"] if row["part"] == "planted" and row["passed"] is not None]
    assert len(planted) == 14 and all(row["n"] >= 8 and row["passed"] for row in planted)
    assert all(row["verdicts"] == 0 for row in found["repeats"]) and found["results"] == []
    assert asked["registration"]["registration"]["body"]["n"] == {"instruction_following": 14}


@pytest.fixture(scope="module")
def trained(store: Path, asked: dict[str, Any]) -> dict[str, Any]:
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
    # Of all tokens at all places, the least likely too: 16 bits round away much of what eight steps have changed.
    assert 0 < found["drift"]["largest_logprob"] < 1.5 and found["drift"]["same_top1"] >= 5


def test_the_tuned_model_is_compared_with_the_base_and_reported_on(
    store: Path, trained: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing is claimed of what a 270M model reaches: that the figures are those of the rows, and honestly labelled."""
    done = cai("evaluate", "--headless", "--json", "--store", str(store))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["evaluation"]
    assert {row["condition"] for row in found["conditions"]} >= {"base_formatted", "sft", "dpo"}
    (primary,) = [row for row in found["results"] if row["role"] == "primary"]
    both = query(store, "SELECT count(*) AS n, count(*) FILTER (a.correct) AS n_right FROM evaluation_answers a "
                        "JOIN evaluation_answers b USING (item_id) JOIN evaluation_items i USING (item_id) "
                        "WHERE a.condition = 'dpo' AND b.condition = 'base_formatted' AND i.split = 'test' "
                        "AND a.correct IS NOT NULL AND b.correct IS NOT NULL")  # fmt: skip
    assert (primary["before"], primary["after"]) == ("base_formatted", "dpo") and 10 <= primary["n"] <= 14
    assert (primary["n"], primary["after_right"]) == (both[0]["n"], both[0]["n_right"])
    assert primary["lo"] <= primary["difference"] <= primary["hi"] and 0 < primary["p"] <= 1
    again = cai("replay", "--phase", "evaluation", "--fraction", "0.2", "--json", "--store", str(store))
    certificate = json.loads(again.stdout)
    assert again.returncode == 0 and certificate["certified"] and certificate["verdicts"] == round(0.2 * 5 * 28)
    out = tmp_path / "report"
    told = cai("report", "--out", str(out), "--json", "--store", str(store))
    assert told.returncode == 0, told.stdout + told.stderr
    text = (out / "report.md").read_text()
    assert "base_formatted" in text and "McNemar" in text and (out / "report.html").stat().st_size > 50_000


def test_a_person_evaluates_on_the_screen(store: Path, trained: dict[str, Any]) -> None:
    """Begun with keys, watched, and its results read on the screen."""
    screen = Terminal([CAI, "--no-tmux", "--store", str(store)])
    screen.wait_for("cai run", timeout=60)
    screen.press("6")
    screen.wait_for("Evaluate", "base_formatted", timeout=30)
    screen.press("e")
    screen.wait_for("short fact", "frozen", timeout=60)
    screen.press("\r")
    screen.wait_until_gone("! done", timeout=60)  # so the run stood before
    screen.wait_for("! done", "No claim: not read", "registered", timeout=240)
    screen.press("q")
    screen.wait_for_end(timeout=60)


def test_a_person_trains_on_the_screen(store: Path, trained: dict[str, Any]) -> None:
    """Another rate makes another training, a short one, begun, watched and stopped with keys."""
    changed = ["--set", "sft.learning_rate=0.0001", "--set", "sft.epochs=0.5"]
    screen = Terminal([CAI, "train", "sft", *changed, "--no-tmux", "--store", str(store)])
    screen.wait_for("cai run", timeout=60)
    screen.press("5")
    screen.wait_for("▶ running", "Gradient norm", "tok/s", timeout=240)
    screen.press("s")
    screen.wait_for("keep it and stop", timeout=20)
    screen.press("y")
    screen.wait_for("■ stopped", timeout=120)
    screen.press("q")
    screen.wait_for_end(timeout=60)
    rows = query(store, "SELECT state, reason FROM trainings WHERE method = 'sft' ORDER BY started_at")
    assert rows[-1]["state"] == "stopped" and "kept at step" in rows[-1]["reason"]
    done = cai("train", "sft", *changed, "--headless", "--store", str(store))
    assert done.returncode == 0, done.stdout + done.stderr
