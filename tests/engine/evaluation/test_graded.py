"""Comparisons of what is no yes or no: which of them are tested, and which are described only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from engine.evaluation.graded import MEASURES, graded
from engine.evaluation.registration import ENOUGH_CLUSTERS


def answers(templates: int) -> list[dict[str, Any]]:
    """Two items of each template, answered by the base and by a model that is right twice as often."""
    return [
        {
            "split": "test", "capability": "instruction_following", "condition": condition, "item_id": f"i{n}",
            "item_type": "short_fact", "template": f"t{n // 2}", "n_tokens": 10 + n % 5 + (n % 3) * (every == 2),
            **dict.fromkeys(("strict", "correct", "loose"), n % every == 0),
        }
        for condition, every in (("base_formatted", 4), ("sft", 2))
        for n in range(2 * templates)
    ]  # fmt: skip


@pytest.mark.parametrize(("templates", "tested"), [(ENOUGH_CLUSTERS - 1, False), (ENOUGH_CLUSTERS, True)])
def test_a_comparison_over_too_few_templates_is_described_only(templates: int, tested: bool) -> None:
    rows = graded(answers(templates), datetime.now(UTC))
    assert [row["measure"] for row in rows] == list(MEASURES)
    for row in rows:
        assert row["clusters"] == templates and row["difference"] > 0 and row["bca_lo"] < row["bca_hi"]
        assert [row[name] is not None for name in ("lo", "hi", "p", "q")] == [tested] * 4
