"""What `cai evaluate`, `preregister` and `replay` print: plans, registrations, outcomes and certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from store.outcomes import with_result
from tests.engine.training.training_run import RUN, settings, trainable_store
from tests.store import rows
from tests.tui.cli.commands import as_json, run_cai
from tests.tui.cli.test_principle_commands import flat, printed
from tests.tui.rooms.test_evaluation_room import audit, evaluated, gap_check
from tui.printed.evaluation import evaluation_outcome, replay_report
from tui.reads.evaluation import evaluation_account


@pytest.fixture
def store(tmp_path: Path) -> Path:
    spec = settings(**{"evaluation.items_per_type": "5"})
    return trainable_store(tmp_path / "a.duckdb", Path("gemma-3-270m"), spec)


def test_a_plan_says_what_would_be_asked_and_asks_nothing(capsys: Any, store: Path) -> None:
    code, told = as_json(capsys, "evaluate", "--plan", "--json", "--store", store)
    assert code == 0 and told["run"] == RUN and told["registered"] is None
    assert [one["name"] for one in told["conditions"]] == ["base_raw", "base_formatted", "base_few_shot"]
    assert {one["missing"] for one in told["conditions"]} == {14 * 10}
    code, out, _ = run_cai(capsys, "evaluate", "--plan", "--store", store)
    words = flat(out)
    assert code == 0 and "instruction following: 70 test and 70 development items in 14 types" in words
    assert (
        "○ base_raw 140 140 the base weights, shown the item alone" in words and "results will be exploratory" in words
    )


@pytest.mark.parametrize("plan", [["--plan"], ["--headless"]])
@pytest.mark.parametrize("suite", ["", " , "])
def test_a_suite_without_a_name_begins_nothing_else(capsys: Any, store: Path, suite: str, plan: list[str]) -> None:
    code, told = as_json(capsys, "evaluate", "--suite", suite, *plan, "--json", "--store", store)
    assert code == 2 and told["error"]["title"] == "--suite names no benchmark"


def test_conversations_are_asked_where_the_spec_wants_them(capsys: Any, store: Path) -> None:
    asked = ("evaluate", "--plan", "--json", "--set", "evaluation.conversations=true", "--store", store)
    _, told = as_json(capsys, *asked)
    assert set(told["items"]) == {"instruction_following", "conversation"}
    assert len(told["items"]["conversation"]) == 4 and told["conditions"][0]["items"] == 140 + 40


def test_what_is_registered_is_shown_again_and_can_be_about_sft(capsys: Any, store: Path) -> None:
    _, out, _ = run_cai(capsys, "preregister", "--show", "--store", store)
    assert "results of this run are exploratory" in out
    code, told = as_json(capsys, "preregister", "--after", "sft", "--json", "--store", store)
    primary = told["registration"]["body"]["hypotheses"][0]
    assert code == 0 and (primary["before"], primary["after"]) == ("base_formatted", "sft")
    _, out, _ = run_cai(capsys, "preregister", "--show", "--store", store)
    assert told["registration"]["sha256"] in out and "cluster-robust t (CR2)" in out and "items_sha256" in out
    code, told = as_json(capsys, "preregister", "--json", "--store", store)
    assert told["registration"]["body"]["hypotheses"][0]["after"] == "dpo", "the spec's last training"


def test_a_registration_after_results_is_refused(capsys: Any, store: Path) -> None:
    with Store.open(store) as opened:
        from tests.store import rows

        opened.append({"evaluation_answers": [rows.evaluation_answer("e1", "sft", True, RUN)]})
    code, told = as_json(capsys, "preregister", "--json", "--store", store)
    assert code == 1 and "worth nothing" in told["error"]["title"]


def test_a_share_that_is_none_is_a_usage_error(capsys: Any, store: Path) -> None:
    for fraction in ("0", "1.5", "half"):
        code, _, err = run_cai(capsys, "replay", "--phase", "responses", "--fraction", fraction, "--store", store)
        assert code == 2 and "share above 0" in err


@pytest.fixture
def account(tmp_path: Path) -> dict[str, Any]:
    evaluated(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as opened:
        opened.append({"scorer_audits": [audit("planted", "short_fact", 0.8, False)],
                       "gates": [gap_check("base_formatted_right", 0.6, False)]})  # fmt: skip
        return evaluation_account(opened.reader(), RUN)


@pytest.mark.parametrize("width", [80, 140])
def test_an_outcome_tells_shares_audit_gap_and_comparisons(account: dict[str, Any], width: int) -> None:
    status = {"run": RUN, "model": "m"}
    text = printed(
        evaluation_outcome(status, account, 4, "the gap gate failed", Path("s"), None, "cai evaluate x"), width
    )
    words = flat(text)
    assert "right base_formatted 50.0 % [15.0, 85.0] of test, 4 items" in words
    assert "✗ planted short_fact: 80.0 % of 48, must be >= 95 %" in words
    assert "again with: cai evaluate x" in words
    assert "claim none: " in words and "the gap gate failed" in words
    if width > 100:  # below, tables fold their cells
        assert "base formatted right, development 60.0 %" in words and "<= 30 %" in words
        assert "· base_formatted → sft 300 81.0 % 99.3 % +18.3 [+12.0, +25.0] 1e-09 1e-09 h +0.74 primary" in words
    assert max(map(len, text.splitlines())) <= width


def test_what_is_next_follows_from_what_there_is(account: dict[str, Any]) -> None:
    from tui.printed.evaluation import what_next

    before = account | {"results": []}
    assert any("cai preregister run-a" in line for line in what_next("run-a", before, 0, "", "x"))
    assert any("cai train sft run-a" in line for line in what_next("run-a", before, 0, "", "x"))
    assert any("cai report run-a" in line for line in what_next("run-a", account, 0, "", "x"))
    assert "kept" in " ".join(what_next("run-a", account, 130, "", "cai evaluate run-a"))


def test_a_certificate_says_what_agrees() -> None:
    found = {
        "run": RUN, "phase": "responses", "fraction": 0.05, "texts": 20, "texts_same": 19, "scores": 0,
        "largest_difference_nats": 0.0, "verdicts": 20, "verdicts_same": 20, "certified": False,
        "detail": {"differing": ["q\x1b[2J"], "figures": {"mean tokens": "20 → 21"}},
    }  # fmt: skip
    text = printed(replay_report(found))
    assert (
        "✗ the slice differs" in text and "19 of 20 the same" in text and "mean tokens" in text and "\x1b" not in text
    )


def test_a_registration_for_other_items_or_verifiers_is_told_so() -> None:
    from tui.printed.evaluation import what_next
    from tui.words.evaluation import registration_caveat

    body = {"items_sha256": "aa", "scorer_sha256": "bb"}
    assert registration_caveat(body, "aa", "bb") == ""
    assert "counts for nothing" in registration_caveat(body, "cc", "bb")
    assert "a deviation" in registration_caveat(body, "aa", "cc")
    account = {"results": [], "gap": [], "registration": {"registration_id": "r"}}
    assert not any("preregister" in line for line in what_next("run-a", account, 0, "", "x"))


def test_a_comparison_is_ticked_only_where_it_may_be_claimed(account: dict[str, Any]) -> None:
    gap = with_result(rows.gate("p_value", "gap", measured=0.01, lo=None, hi=None, op="<=", threshold=0.05, n=60))
    fine = account | {"gap": [gap], "guard": [{"check_id": "a", "passed": True}]}
    for change, told in (
        ({"guard": []}, "has not run"),
        ({"guard": [{"check_id": "a", "passed": False}]}, "guard failed (a)"),
        ({"gap": []}, "the gap gate was not decided"),
    ):
        text = flat(printed(evaluation_outcome({"run": RUN, "model": "m"}, fine | change, 0, "", Path("s"),
                                               None, "x"), 140))  # fmt: skip
        assert told in text and "✓ base_formatted" not in text
    text = flat(printed(evaluation_outcome({"run": RUN, "model": "m"}, fine, 0, "", Path("s"), None, "x"), 140))
    assert "✓ base_formatted" in text and "claim none" not in text
