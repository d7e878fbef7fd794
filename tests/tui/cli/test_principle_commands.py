"""What `cai principles` and `cai ablate` print: figures with their n, interval, test and effect, and who judged."""

from __future__ import annotations

from dataclasses import asdict
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from engine.stats.effects import paired_means, paired_shares
from tui.printed.principles import ablation_report, principles_report

JUDGES = [
    {"critic": "compare", "part": "planted", "auc": 0.583, "may_filter": False},
    {"critic": "compare", "part": "own", "auc": None, "may_filter": False},
    {"critic": "grade", "part": "planted", "auc": 0.5, "may_filter": False},
]


def printed(what: Any, width: int = 80) -> str:
    out = StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(what)
    return out.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def result_rows(principle: str = "correct_facts", moves: bool = True) -> list[dict[str, Any]]:
    base = [0.01 * number for number in range(12)]
    more = [value + 0.5 + (0.1 if number % 2 else -0.1) for number, value in enumerate(base)]
    margins = paired_means(more, base) if moves else paired_means(base, base)
    useful = paired_shares([1] * 9 + [0] * 3, [0] * 12) if moves else paired_shares([0] * 12, [0] * 12)
    corrected = 0.01 if moves else None
    return [
        {"principle_id": principle, "against": against, "measure": measure, "p_corrected": corrected} | asdict(found)
        for against in ("without", "irrelevant")
        for measure, found in (("margin_nats", margins), ("useful", useful))
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_an_ablation_is_told_with_all_that_a_reviewer_asks_for_at_any_width(width: int) -> None:
    text = printed(ablation_report(result_rows(), JUDGES), width)
    lines = [line.rstrip() for line in text.splitlines()]
    assert "correct_facts, the same 12 items" in lines
    margin = next(line for line in lines if line.startswith("margin   none"))
    assert margin.split()[:5] == ["margin", "none", "+0.555", "+0.055", "+0.500"]
    assert margin.split()[-2:] == ["<0.001", "+4.79"]  # d_z: 0.5 over a standard deviation of 0.1 sqrt(12 / 11)
    beside = [line for line in lines if line.startswith("margin   none")][1]
    assert beside.split()[2:] == ["0.010", "[+2.73,", "+6.83]", "0.002", "+1.00"]
    useful = next(line for line in lines if line.startswith("useful   another"))
    assert useful.split()[2:5] == ["0.750", "0.000", "+0.750"] and useful.split()[-2:] == ["0.004", "+0.50"]
    said = flat(text)
    assert "paired t test, effect: Cohen's d_z; beside it Wilcoxon signed-rank" in said
    assert "McNemar exact test, effect: Cohen's g" in said
    assert "not corrected for the number of tests, 4 here; corrected p: by Holm" in said
    assert "…" not in text and max(map(len, lines)) <= width


def test_where_no_item_differs_there_is_neither_interval_nor_test() -> None:
    text = printed(ablation_report(result_rows(moves=False), []))
    lines = [line for line in text.splitlines() if line.startswith(("margin  ", "useful  "))]
    assert len(lines) == 4
    assert "+0.000" not in text and "-0.000" not in text
    assert all("no item differs" in line and "[" not in line and line.split()[-2:] == ["–", "–"] for line in lines)
    assert "judged by" not in text


def test_a_reader_is_told_what_the_critics_are_worth() -> None:
    said = flat(printed(ablation_report(result_rows(), JUDGES)))
    assert "compare (AUC 0.58 on planted pairs, AUC none on own pairs, not good enough to filter)" in said
    assert "None passed its audit" in said
    passed = [row | {"may_filter": row["critic"] == "compare"} for row in JUDGES]
    said = flat(printed(ablation_report(result_rows(), passed)))
    assert "grade (AUC 0.50 on planted pairs, not good enough to filter)" in said and "None passed" not in said


def test_each_principle_has_its_own_table() -> None:
    text = printed(ablation_report([*result_rows("correct_facts"), *result_rows("kind_words")], []))
    assert text.count("the same 12 items") == 2 and text.index("correct_facts") < text.index("kind_words")
    assert "8 here" in flat(text)


def evidence(compared: int) -> dict[str, Any]:
    shares = {"named": 1, "named_lo": 0.0, "named_hi": 0.5, "kept": 2, "kept_lo": 0.1, "kept_hi": 0.6}
    margin = {"compared": compared, "margin_nats": 0.0154, "margin_lo": 0.01, "margin_hi": 0.02}
    counts = {"drawn": 10, "by_rule": 3, "one_order": 4, "pairs": 5, "pairs_kept": 1}
    return {"principle_id": "kind_words", "category": "harmlessness", **shares, **margin, **counts}


def test_a_mean_of_few_values_has_no_bootstrap_interval() -> None:
    few, enough = (printed(principles_report("run-a", [evidence(n)], [], JUDGES), 120) for n in (7, 8))
    assert "+0.015 " in few and "[+0.010" not in few
    assert "+0.015 [+0.010, +0.020]" in enough
    assert "2 of 10 revisions were useful: 20.0 %" in enough and "judged by: compare" in enough


def test_principles_show_the_ablations_that_there_are() -> None:
    assert "Ablations" not in printed(principles_report("run-a", [evidence(9)], []), 120)
    text = printed(principles_report("run-a", [evidence(9)], result_rows(), JUDGES), 120)
    assert "Ablations: the same items revised" in text and "correct_facts, the same 12 items" in text
    assert text.count("judged by") == 1
