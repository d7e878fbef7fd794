"""What the first line of an evaluation says where a claim cannot be made."""

import json
from typing import Any

import pytest

from store.outcomes import with_result
from tests.store import rows
from tests.tui.rooms.test_evaluation_room import read
from tui.reads.evaluation import Standing
from tui.widgets.evaluation.standing import standing_lines

PASSES = with_result(rows.gate("p_value", "gap", measured=0.01, lo=None, hi=None, op="<=", threshold=0.05, n=60))
TOO_FEW = with_result(rows.gate("p_value", "gap", measured=0.01, lo=None, hi=None, op="<=", threshold=0.05, n=2))
PRIMARY = {
    "role": "primary", "capability": "instruction_following", "before": "base_formatted", "after": "sft",
    "item_type": "all",
}  # fmt: skip
DESCRIPTIVE = rows.evaluation_result(role="descriptive", registered=False, p_corrected=None)
OTHER = rows.evaluation_result("arithmetic", role="secondary", p_corrected=0.6)


def first(results: list[rows.Row], gap: list[rows.Row], seeds: tuple[rows.Row, ...] = ()) -> str:
    registration: dict[str, Any] = {
        "body": json.dumps({"hypotheses": [PRIMARY], "items_sha256": "ab"}), "at": rows.T0,
    }  # fmt: skip
    guard = [{"check_id": "bos", "passed": True}]
    found = Standing([], [read(ana=12, ben=12)], gap, registration, [], "ab", results, [], guard, seeds=seeds)
    return " ".join(line.plain for line in standing_lines(found, 150, 2))


@pytest.mark.parametrize(
    ("results", "gap", "told"),
    [
        ([rows.evaluation_result(p_corrected=1e-9)], [PASSES], "✓ base_formatted → sft"),
        (
            [rows.evaluation_result(p_corrected=1e-9)],
            [TOO_FEW],
            "? No claim: the gap gate could not test 1 of 1 checks",
        ),
        ([rows.evaluation_result(p_corrected=1e-9)], [], "? No claim: the gap gate was not decided"),
        ([], [PASSES], "✓ The base was asked"),
        ([], [TOO_FEW], "? The base was asked; no tuned model was yet: the gap gate could not test 1 of 1 checks"),
        ([DESCRIPTIVE, OTHER], [PASSES], "? Nothing is shown of the registered primary comparison: too few templates"),
        ([OTHER], [PASSES], "? Nothing is shown yet: the registered primary comparison has no answers"),
    ],
)
def test_what_is_shown_is_told_only_where_nothing_stands_against_a_claim(
    results: list[rows.Row], gap: list[rows.Row], told: str
) -> None:
    assert first(results, gap).startswith(told)


@pytest.mark.parametrize(("lo", "hi", "claims"), [(0.02, 0.3, True), (-0.02, 0.3, False), (None, None, True)])
def test_an_interval_over_seeds_can_take_a_claim_away(lo: float | None, hi: float | None, claims: bool) -> None:
    """With two seeds there is none, and nothing is taken away."""
    result = rows.evaluation_result(p_corrected=1e-9)
    over = {name: result[name] for name in ("capability", "before", "after", "difference")}
    over |= {"seeds": 3, "clusters": 30, "lo": lo, "hi": hi, "between_sd": 0.03, "between_lo": 0.01, "between_hi": 0.2}
    told = first([result], [PASSES], (over,))
    assert told.startswith("✓ base_formatted") if claims else "No claim: over 3 seeds the interval has no diff" in told
