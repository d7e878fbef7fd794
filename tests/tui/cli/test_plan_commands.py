"""`cai plan` and `cai budget` on a store: as JSON, and as text in 80 columns."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine.budget.ledger import Ledger
from engine.budget.prices import api_price, gpu_price
from engine.core.errors import SpecError, UsageError
from engine.spec.stage import load_spec
from store.db import Store
from tests.engine.planning.conftest import fill
from tests.store import rows
from tui.cli import plan
from tui.config.settings import Config
from tui.printed.experiment import experiment_report
from tui.printed.fit import fit_report
from tui.printed.plan import budget_report, plan_report


class Out(io.StringIO):
    def isatty(self) -> bool:
        return False


class FakeTerminal:
    def __init__(self) -> None:
        self.stdout = Out()
        self.stderr = Out()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("plan") / "cai.duckdb"
    with Store.open(found) as store:
        fill(store)
        with Ledger(store, "run-a", "session-1", 300_000_000) as ledger:
            ledger.settle(ledger.reserve(gpu_price(2.49, "NVIDIA H100"), "responses", 6, 7200), 7200)
            ledger.settle(ledger.reserve(api_price("gpt-5"), "review", 6, 5000, 3000), 4000, 2000)
    return found


def told(action: Any, path: Path, **options: Any) -> str:
    given: dict[str, Any] = {"store": str(path), "run": None, "json": True, "set": None, "command": "plan"}
    given["config"] = Config(Path("none"), store=str(path), price_per_gpu_hour=2.49)
    terminal = FakeTerminal()
    assert action(argparse.Namespace(**given | options), terminal) == 0
    return terminal.stdout.getvalue()


def at_80(report: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80, markup=False, highlight=False, emoji=False).print(report)
    return out.getvalue().splitlines()


def test_a_plan_as_json_and_as_text(path: Path) -> None:
    found = json.loads(told(plan.plan, path))
    assert found["price_per_hour"] == 2.49
    assert found["budget"]["spent_usd"] == 5.005
    assert json.loads(told(plan.plan, path, price=5.0, cap=6.0))["budget"]["cap_usd"] == 6
    text = told(plan.plan, path, json=False)
    for words in ("$5.00 of $300.00 spent or reserved", "accepted example", "this stage", "not known", "≥", "fit"):
        assert words in text, words


def test_a_plan_fits_80_columns(path: Path) -> None:
    lines = at_80(plan_report(json.loads(told(plan.plan, path, interim=(4, 14, 250, 300)))))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "stop: even the planned effect" in " ".join(text.split())
    assert not any("Traceback" in line for line in lines)
    row = next(line for line in lines if line.startswith("accepted example"))
    assert row.split()[-1] == "120"  # a line of a table is a line of the screen


def test_a_plan_of_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "cai.duckdb") as store:
        settings = load_spec("stage_1_small_model").settings.model_dump()
        store.append({"runs": [rows.run(settings=settings, state="stopped")]})
    found = json.loads(
        told(plan.plan, tmp_path / "cai.duckdb", config=Config(Path("none"), store=str(tmp_path / "cai.duckdb")))
    )
    lines = at_80(plan_report(found))
    assert any("no price set" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_what_has_no_price_is_nowhere_no_dollars(tmp_path: Path) -> None:
    path = tmp_path / "cai.duckdb"
    with Store.open(path) as store:
        settings = load_spec("stage_1_small_model").settings.model_dump()
        store.append({"runs": [rows.run(settings=settings, state="stopped")]})
        with Ledger(store, "run-a", "session-1", None) as ledger:
            ledger.settle(ledger.reserve(gpu_price(None, "CPU"), "guard", 1, 60), 50)
    config = Config(Path("none"), store=str(path))
    for text in (told(plan.plan, path, config=config, json=False), told(plan.budget, path, config=config, json=False)):
        assert "no price set (price_per_gpu_hour" in text and "$0.00" not in text
    assert json.loads(told(plan.budget, path, config=config))["unpriced"] is True


def test_a_share_says_what_it_is_of(path: Path) -> None:
    text = told(plan.plan, path, json=False)
    assert "samples judged, " in text and "pairs made of the run's own samples, " in text


def test_interim_counts_that_cannot_be(path: Path) -> None:
    for interim in ((4, 14, 10, 300), (1, 2, 3)):
        with pytest.raises(UsageError):
            told(plan.plan, path, interim=interim)


def test_the_budget_and_how_a_person_raises_it(path: Path, tmp_path: Path) -> None:
    found = json.loads(told(plan.budget, path))
    assert (found["cap_usd"], found["by_kind"]["gpu"]["settled_usd"]) == (300, 4.98)
    assert sum(row["usd"] for row in found["units"]) == pytest.approx(found["spent_usd"])
    with pytest.raises(SpecError, match="wants a reason"):
        told(plan.budget, path, budget=400.0, reason="")
    raised = json.loads(told(plan.budget, path, budget=400.0, reason="one more stage"))
    assert (raised["cap_usd"], raised["left_usd"]) == (400, pytest.approx(400 - 5.005))
    lines = at_80(budget_report(raised))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "one more stage" in text and "NVIDIA H100" in text and "not checked" in text
    assert "$5.00 of $400.00" in text


def test_an_experiment_needs_no_store(tmp_path: Path) -> None:
    none = tmp_path / "none.duckdb"
    found = json.loads(told(plan.plan, none, gpu="H100", config=Config(Path("none"), store=str(none))))
    assert (found["spec"], found["usd_per_hour"]) == ("stage_6_constitutional_integration", 2.99)
    assert not none.exists()
    lines = at_80(experiment_report(found))
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80
    for words in ("stage 6", "seeds 2 to 3", "ablations of 18", "not checked", "(docs/BENCHMARKS.md, Critics)", "off"):
        assert words in text, words
    given = json.loads(told(plan.plan, none, run="stage_1_explicit_instructions", gpu="H100", price=2.0, seeds=1))
    assert (given["usd_per_hour"], len(given["lines"])) == (2.0, 1)


def test_a_run_has_its_experiment_with_what_was_measured(path: Path) -> None:
    whole = json.loads(told(plan.plan, path, gpu="CPU", parameters=270e6))
    found = whole["experiment"]
    assert (found["left_usd"], found["usd_per_hour"]) == (whole["budget"]["left_usd"], 2.49)
    told_of = json.loads(told(plan.plan, path, run="stage_6_small_model"))
    assert told_of["left_usd"] == found["left_usd"] and told_of["gpu"] == "CPU"


def test_a_mistake_about_an_experiment(path: Path) -> None:
    for wrong in ({"gpu": "H1000"}, {"model": "x-7B"}, {"run": "stage_1_small_model", "price": 2.0},
                  {"run": "stage_1_small_model", "interim": (1, 2, 3, 4)}):  # fmt: skip
        with pytest.raises(UsageError):
            told(plan.plan, path, **wrong)


def test_what_fits_without_weights_as_json_and_in_80_columns(tmp_path: Path) -> None:
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "vocab_size": 100,
              "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    asked: dict[str, Any] = {"model": str(tmp_path), "gpus": 2, "kind": "h100-80", "price": None, "command": "fit"}
    found = json.loads(told(plan.fit, tmp_path / "none.duckdb", **asked))
    assert (found["gpu"], found["gpus"], found["usd_per_hour"]) == ("H100", 2, 2.49)
    assert found["inference"]["replicas"] == 2 and found["stages"][0]["requests"] > 0
    text = at_80(fit_report(found))
    assert max(map(len, text)) <= 80
    for words in ("2 engines side by side (replicas)", "SFT, QLoRA", "DPO, LoRA", "115,624", "activ."):
        assert any(words in line for line in text), words
    with pytest.raises(UsageError, match="no kind of GPU 'h10'"):
        told(plan.fit, tmp_path / "none.duckdb", **asked | {"kind": "h10"})
    assert not (tmp_path / "none.duckdb").exists()
