"""Runs compared item by item: the same items and scorer, pairs, corrections, and the tables that show them."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.report.comparison import compare_runs, write_comparison
from engine.stats.clusters import clustered
from engine.stats.paired import Pairs, cohen_h, holm, mcnemar, newcombe
from engine.stats.shares import wilson
from store.db import Store
from store.errors import CaiError, NotFound
from tests.store import rows
from tui.cli import report
from tui.config.settings import load as load_config

N = 60


def run_of(
    run_id: str,
    right: Callable[[int], bool],
    *,
    condition: str = "dpo",
    n: int = N,
    with_base: bool = True,
    **answer: Any,
) -> dict[str, list[dict[str, Any]]]:
    """A run's answers to `n` items of each capability; the base has every third one right."""
    found: dict[str, list[dict[str, Any]]] = {"runs": [rows.run(run_id, state="done")], "evaluation_answers": []}
    for capability in ("instruction_following", "conversation"):
        for place in range(n):
            name = f"{capability}-{place:02}"
            made = [(condition, right(place))] + ([("base_raw", place % 3 == 0)] if with_base else [])
            found["evaluation_answers"] += [
                rows.evaluation_answer(name, of, correct, run_id, **answer) for of, correct in made
            ]
    found["verdicts"] = [rows.verdict(f"{run_id}-{n}", run_id=run_id) for n in range(3)]
    found["samples"] = [rows.sample(f"{run_id}-{n}", "i", run_id) for n in range(4)]
    found["gates"] = [rows.gate("a", "final", run_id), rows.gate("b", "final", run_id, passed=False)]
    return found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.duckdb"
    items = [
        rows.evaluation_item(
            f"{capability}-{place:02}",
            capability=capability,
            split="test" if place < N - 10 else "dev",
            template=f"t{place // 2}" if place != 2 else "t0",
        )
        for capability in ("instruction_following", "conversation")
        for place in range(N)
    ]
    with Store.open(path) as opened:
        opened.append({"evaluation_items": items})
        opened.append(run_of("first", lambda n: n % 2 == 0))
        opened.append(run_of("better", lambda n: n % 4 != 1, condition="sft"))
        opened.append(run_of("same", lambda n: n % 2 == 0))
        opened.append(run_of("fewer", lambda n: n % 2 == 0, n=30))
        opened.append(run_of("other-scorer", lambda n: True, scorer_sha256="77" * 32))
        opened.append(run_of("other-items", lambda n: True, items_sha256="88" * 32))
        others = [item | {"items_sha256": "88" * 32} for item in items]
        opened.append({"evaluation_items": others})
        opened.append(run_of("base-only", lambda n: False, condition="base_formatted"))
        opened.append({"runs": [rows.run("unasked")]})
    return path


def compared(path: Path, *names: str, **options: Any) -> dict[str, Any]:
    with Store.open(path, read_only=True) as opened, opened.reader() as reader:
        return compare_runs(reader, names, **options)


def test_pairs_are_those_of_the_test_items(store: Path) -> None:
    found = compared(store, "first", "better", "same")
    assert found["baseline"] == "first" and found["family"] == 4 and found["notes"] == []
    row = found["comparisons"][0]
    outcomes = [(n % 4 != 1, n % 2 == 0) for n in range(N - 10)]
    pairs = Pairs(*(outcomes.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))
    assert (row["run"], row["before"], row["after"]) == ("better", "dpo", "sft")
    assert row["capability"] == "instruction_following"
    counts = (row["n"], row["after_right"], row["before_right"], row["gained"], row["lost"])
    assert counts == (50, pairs.a_right, pairs.b_right, 12, 0)
    tested = clustered(*zip(*outcomes, strict=True), [n // 2 if n != 2 else 0 for n in range(N - 10)])
    assert (row["difference"], row["clusters"]) == (12 / 50, 25)
    assert (row["lo"], row["hi"], row["p"]) == pytest.approx((tested.lo, tested.hi, tested.p))
    assert (row["newcombe_lo"], row["newcombe_hi"]) == (newcombe(pairs).lo, newcombe(pairs).hi)
    assert row["mcnemar_p"] == mcnemar(pairs).p == 2 * 0.5**12 and row["effect"] == cohen_h(pairs).value
    assert (row["before_lo"], row["before_hi"]) == wilson(25, 50)
    assert row["only_before"] == row["only_after"] == 0


def test_what_has_too_few_templates_is_described_and_not_tested(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as opened:
        names = [f"instruction_following-{place:02}" for place in range(N)]
        opened.append({"evaluation_items": [rows.evaluation_item(name, template=name[-1]) for name in names[:N:4]]})
        opened.append(run_of("first", lambda n: n % 2 == 0))
        opened.append(run_of("better", lambda n: True))
    found = compared(tmp_path / "s.duckdb", "first", "better")
    (row,) = found["comparisons"]
    assert row["clusters"] < 10 and (row["p_corrected"], row["shown"], found["family"]) == (None, False, 0)
    assert "described and not tested" in found["notes"][0]


def test_p_values_are_corrected_over_runs_and_capabilities(store: Path) -> None:
    found = compared(store, "first", "better", "same")
    p = [row["p"] for row in found["comparisons"]]
    assert p[0] == p[1] < 0.001 and p[2:] == [1.0] * 2
    assert [row["p_corrected"] for row in found["comparisons"]] == list(holm(p).adjusted) == [4 * p[0]] * 2 + [1.0] * 2
    assert [row["shown"] for row in found["comparisons"]] == [True, True, False, False]
    alone = compared(store, "first", "better", capability="conversation")
    assert [row["capability"] for row in alone["comparisons"]] == ["conversation"] and alone["family"] == 1
    assert alone["comparisons"][0]["p_corrected"] == p[0]


def test_bases_are_compared_where_they_are_asked_for(store: Path) -> None:
    found = compared(store, "first", "better", conditions=["base_raw"])
    assert {(row["before"], row["after"], row["difference"]) for row in found["comparisons"]} == {
        ("base_raw", "base_raw", 0.0)
    }


def test_items_that_only_one_run_answered_are_counted(store: Path) -> None:
    row = compared(store, "first", "fewer")["comparisons"][0]
    assert (row["n"], row["only_before"], row["only_after"]) == (30, 20, 0)


def test_figures_of_a_run_carry_no_test(store: Path) -> None:
    first = compared(store, "first", "same")["runs"][0]
    assert (first["run"], first["samples"], first["accepted"], first["pairs"]) == ("first", 4, 3, 0)
    assert (first["checks"], first["checks_failed"], first["overrides"]) == (2, 1, {})


@pytest.mark.parametrize(
    ("names", "options", "title", "hint"),
    [
        (["first"], {}, "at least two different runs", "cai runs"),
        (["first", "first"], {}, "at least two different runs", "cai runs"),
        (["first", "other-scorer"], {}, "another scorer", "not asked again"),
        (["first", "other-items"], {}, "other items", "not asked again"),
        (["first", "unasked"], {}, "has no answers", "cai evaluate unasked"),
        (["first", "base-only"], {}, "no tuned model of run base-only", "--condition"),
        (["first", "same"], {"conditions": ["reference"]}, "not asked under the condition 'reference'", "base_raw"),
        (["first", "same"], {"capability": "cooking"}, "no capability 'cooking'", "conversation"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_hint(
    store: Path, names: list[str], options: dict[str, Any], title: str, hint: str
) -> None:
    with pytest.raises(CaiError, match=title) as raised:
        compared(store, *names, **options)
    assert hint in raised.value.hint


def test_an_unknown_run_is_not_found(store: Path) -> None:
    with pytest.raises(NotFound, match="no run 'firts'"):
        compared(store, "firts", "same")


class Screen:
    """A terminal that keeps what is written to it."""

    interactive = False

    def __init__(self) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()


def command(store: Path, *runs: str, **fields: Any) -> str:
    screen: Any = Screen()
    given = {"capability": None, "json": False, **fields}
    args = argparse.Namespace(runs=list(runs), store=str(store), config=load_config({"store": str(store)}), **given)
    assert report.compare_runs(args, screen) == 0
    return str(screen.stdout.getvalue())


def test_the_command_shows_tables(store: Path) -> None:
    told = command(store, "first", "better", "fewer")
    line = next(line for line in told.split("conversation")[1].splitlines() if "better" in line)
    for part in ("dpo → sft", "50", "50.0 %", "74.0 %", "+24.0", "0.00016", "0.00062"):
        assert part in line
    assert "3/4" not in told and "1/2" in told and "40 answers are to items that only one" in told
    assert max(len(line) for line in told.splitlines() if "   " in line) <= 120  # tables; in a pipe no text is wrapped


def test_the_command_as_json_and_into_a_folder(store: Path, tmp_path: Path) -> None:
    told = json.loads(command(store, "first", "better", json=True, out=str(tmp_path / "out")))
    assert told["files"] == [str(tmp_path / "out/compare.json"), str(tmp_path / "out/compare.md")]
    kept = json.loads((tmp_path / "out/compare.json").read_text())
    assert kept == {name: value for name, value in told.items() if name != "files"}
    assert "| better | conversation | dpo | sft | 50 |" in (tmp_path / "out/compare.md").read_text()
    with pytest.raises(CaiError, match="is there already"):
        write_comparison(kept, tmp_path / "out")
    assert "files" not in json.loads(command(store, "first", "better", json=True))


def test_a_failed_audit_of_the_scorer_blocks_a_comparison(store: Path) -> None:
    audit = {
        "run_id": "better", "scorer_sha256": "ab" * 32, "capability": "conversation", "part": "planted",
        "subject": "memory", "measured": 0.8, "lo": None, "hi": None, "n": 48, "op": ">=", "threshold": 0.95,
        "passed": False, "detail": {},
    }  # fmt: skip
    with Store.open(store) as opened:
        opened.append({"scorer_audits": [audit]})
    with pytest.raises(CaiError, match=r"the scorer's audit failed in run better \(planted memory\)"):
        compared(store, "first", "better")
    assert compared(store, "first", "better", capability="instruction_following")["comparisons"]
    assert compared(store, "first", "same")["comparisons"]


def test_answers_of_two_models_under_one_condition_are_not_compared(store: Path) -> None:
    with Store.open(store) as opened:
        other = rows.evaluation_answer("conversation-01", "sft", True, "better", fingerprint="e" * 16)
        opened.put({"evaluation_answers": [other]})
    with pytest.raises(CaiError, match="answers of sft in run better are of more than one model"):
        compared(store, "first", "better")
