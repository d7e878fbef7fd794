"""Paired differences of conditions over items and seeds, and their table."""

from __future__ import annotations

import random

import pytest

from bench.improving.blind import Outcomes
from bench.improving.differences import compared, table_of
from engine.stats.clusters import clustered
from engine.stats.paired import newcombe, pairs

SEEDS = [1, 2, 3]
TEMPLATES = {f"item-{number:03}": f"t{number % 10}" for number in range(120)}


def outcomes(**shares: float) -> Outcomes:
    """Each condition's items right with a share of its own, the luck of an item being the same for all."""
    found: Outcomes = {}
    for seed in SEEDS:
        luck = random.Random(seed)
        drawn = {name: luck.random() for name in TEMPLATES}
        for condition, share in shares.items():
            found[seed, condition] = {name: value < share for name, value in drawn.items()}
    return found


def test_a_comparison_is_that_of_the_projects_paired_statistics() -> None:
    given = outcomes(rules=0.2, critic=0.35)
    (row,) = compared(given, SEEDS, TEMPLATES)
    after = [given[seed, "critic"][name] for seed in SEEDS for name in TEMPLATES]
    before = [given[seed, "rules"][name] for seed in SEEDS for name in TEMPLATES]
    table = pairs(after, before)
    by_template = clustered(after, before, [TEMPLATES[name] for _ in SEEDS for name in TEMPLATES])
    by_seed = clustered(after, before, [seed for seed in SEEDS for _ in TEMPLATES])
    whole = row["pooled"]
    assert (row["before"], row["after"], whole["n"]) == ("rules", "critic", 360)
    assert whole["difference"] == pytest.approx(table.difference)
    assert (whole["lo"], whole["hi"]) == (newcombe(table).lo, newcombe(table).hi)
    assert whole["clustered"]["clusters"] == 10
    assert whole["clustered"]["lo"] == pytest.approx(by_template.lo)
    assert whole["over_seeds"]["clusters"] == 3
    assert whole["over_seeds"]["hi"] == pytest.approx(by_seed.hi)
    assert [row["by_seed"][str(seed)]["n"] for seed in SEEDS] == [120] * 3
    assert 0 < whole["detectable"] < 0.2


def test_only_items_that_both_were_asked_with_one_seed_are_pairs() -> None:
    given = outcomes(rules=0.2, critic=0.4)
    del given[2, "critic"]
    given[1, "rules"].pop("item-007")
    (row,) = compared(given, SEEDS, TEMPLATES)
    assert row["pooled"]["n"] == 119 + 120
    assert row["by_seed"].keys() == {"1", "3"}


def test_an_instruction_that_three_seeds_answered_is_one_cluster() -> None:
    (row,) = compared(outcomes(rules=0.2, critic=0.4), SEEDS)
    assert row["pooled"]["clustered"]["clusters"] == 120
    assert row["by_seed"]["1"]["clustered"] is None  # each instruction once: nothing lies in groups


def test_conditions_that_answer_alike_have_a_difference_of_zero_and_no_clustered_interval() -> None:
    (row,) = compared(outcomes(rules=0.3, critic=0.3), SEEDS, TEMPLATES)
    whole = row["pooled"]
    assert (whole["difference"], whole["p"], whole["clustered"], whole["detectable"]) == (0.0, 1.0, None, None)
    assert whole["lo"] < 0 < whole["hi"]


def test_a_condition_that_was_not_asked_is_not_compared() -> None:
    assert compared({}, SEEDS, TEMPLATES) == []
    found = compared(outcomes(rules=0.2, critic=0.3, critic_dpo=0.4, base=0.1), SEEDS, TEMPLATES)
    assert len(found) == 6


def test_the_table_has_a_line_a_comparison_and_a_dash_for_what_is_not_known() -> None:
    given = outcomes(rules=0.2, critic=0.4)
    del given[2, "critic"]
    text = table_of({"items": compared(given, SEEDS, TEMPLATES), "good": []}, SEEDS)
    head, rule, line = text.splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["items", "rules → critic", "240"]
    assert cells[-2] == "–"
    assert cells[5].startswith("+")
