"""What a check came to: only what was tested and met its threshold is a pass, in Python and in SQL alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.db import Store
from store.outcomes import (
    READ,
    RESULT_SQL,
    RESULTS,
    YIELDS,
    beyond,
    gate_result,
    result_of,
    tally,
    why_untested,
    with_result,
)
from tests.store import rows

Row = dict[str, Any]


def check(name: str, measured: float | None, n: int, op: str, threshold: float, *, share: bool = False) -> Row:
    lo, hi = (0.0, 1.0) if share else (None, None)
    figures = {"measured": measured, "lo": lo, "hi": hi, "n": n, "op": op, "threshold": threshold}
    return rows.gate(name, **figures, passed=result_of({"check_name": name, **figures}) == "passed")


SITUATIONS = [
    (check("audited pair critics", 0.0, 3, ">=", 0), "not tested"),  # cannot fail
    (check("audited pair critics", 0.0, 3, ">=", 1), "failed"),
    (check("audited pair critics", 1.0, 3, ">=", 1), "passed"),
    (check("share of revision", 0.4, 50, "<=", 1.0, share=True), "not tested"),  # allows all
    (check("pair acceptance", 0.4, 50, ">=", 0.0, share=True), "not tested"),
    (check("pair acceptance", 0.0, 50, ">=", 0.1, share=True), "empty"),
    (check("pair acceptance", None, 0, ">=", 0.1), "empty"),
    (check("pair acceptance", 1.0, 1, ">=", 0.1, share=True), "not tested"),  # a gate of one
    (check("pair acceptance", 0.6, 50, ">=", 0.1, share=True), "passed"),
    (check("runaway share", 0.0, 72, "<", 0.05, share=True), "not tested"),
    (check("runaway share", 0.0, 73, "<", 0.05, share=True), "passed"),
    (check("runaway share", 1.0, 1, "<", 0.05, share=True), "failed"),  # a failure is seen in one
    (check("runaway share", None, 0, "<", 0.05), "not tested"),
    (check("median tokens", 4.0, 1, "<", 40), "not tested"),
    (check("marker leaks", 0.0, 50, "<=", 0), "passed"),
    (check("distinct instructions", 1.0, 50, ">=", 1.0, share=True), "passed"),
    (check("guard passed", None, 0, ">=", 1.0), "failed"),
    (check("guard passed", 1.0, 1, ">=", 1.0), "passed"),
    (check("smallest margin", 0.2, 50, ">=", 0.0), "passed"),  # a margin may be negative
    (check("smallest margin", None, 50, ">=", 0.0), "failed"),  # there is one that is not known
    (check("kept revisions", 0.0, 14, ">=", 0), "not tested"),
    (check("kept revisions", 0.0, 14, ">=", 1), "empty"),
    (check("kept revisions", 3.0, 14, ">=", 20), "failed"),
    (check("base_raw_right", None, 0, "<=", 0.3), "empty"),  # nobody asked
    (check("base_raw_right", 0.1, 84, "<=", 0.3, share=True), "passed"),
    (check("read by a person", 0.0, 30, ">=", 30), "not tested"),
    (check("read by a person", 29.0, 30, ">=", 30), "not tested"),
    (check("read by a person", 30.0, 30, ">=", 30), "passed"),
    (check("read by a person", 0.0, 0, ">=", 0), "not tested"),
    (check("accepted, read as good", 0.4, 17, ">=", 0, share=True), "not tested"),
    (check("accepted, read as good", None, 0, ">=", 0, share=True), "not tested"),
]


@pytest.mark.parametrize(
    ("row", "result"), SITUATIONS, ids=[f"{row['check_name']}-{result}" for row, result in SITUATIONS]
)
def test_a_check_has_one_of_four_results(row: Row, result: str) -> None:
    found = with_result(row)
    assert (found["result"], found["passed"]) == (result, result == "passed")
    assert bool(why_untested(row)) == (result == "not tested")


@pytest.mark.parametrize(("row", "share"), [
    (check("token-limit share", 0.3, 100, "<", 0.05, share=True), 0.25 / 0.95),
    (check("token-limit share", 0.01, 100, "<", 0.05, share=True), -0.8),
    (check("pair acceptance", 0.05, 100, ">=", 0.1, share=True), 0.5),
    (check("pair acceptance", 0.55, 100, ">=", 0.1, share=True), -0.5),
    (check("preference pairs", 20.0, 20, ">=", 80), 0.75),
    (check("preference pairs", 160.0, 160, ">=", 80), -0.5),
    (check("median tokens", 80.0, 20, "<", 40), 0.5),
    (check("marker leaks", 3.0, 50, "<=", 0), 1.0),
    (check("marker leaks", 0.0, 50, "<=", 0), 0.0),
    (check("smallest margin", -0.1, 50, ">=", 0), 1.0),
    (check("kept revisions", None, 0, ">=", 1), 1.0),
])  # fmt: skip
def test_how_far_a_figure_is_beyond_its_threshold_is_a_share(row: Row, share: float) -> None:
    assert beyond(row) == pytest.approx(share)


def test_an_old_row_that_counted_what_cannot_fail_as_a_pass_is_not_tested() -> None:
    old = rows.gate("audited pair critics", measured=0.0, lo=None, hi=None, n=3, op=">=", threshold=0.0, passed=True)
    assert with_result(old)["result"] == "not tested" and not with_result(old)["passed"]


def test_a_row_stored_as_failed_is_never_read_as_passed() -> None:
    assert with_result(rows.gate("runaway share", passed=False))["result"] == "failed"


def test_a_gate_fails_by_what_failed_or_is_empty_and_passes_by_what_was_tested() -> None:
    good, untested = SITUATIONS[8][0], SITUATIONS[0][0]
    cases = [
        ([good, untested], "passed", "1 of 1 passed, 1 not tested"),
        ([untested], "not tested", "none tested"),
        ([], "not tested", "none tested"),
        ([good, SITUATIONS[7][0]], "not tested", "1 of 1 passed, 1 not tested"),  # a gate of one
        ([good, SITUATIONS[21][0], untested], "failed", "1 of 2 passed (1 empty), 1 not tested"),
        ([good, SITUATIONS[1][0]], "failed", "1 of 2 passed (1 failed)"),
    ]
    for of, result, told in cases:
        found = [with_result(row) for row in of]
        assert (gate_result(found), tally(found)) == (result, told)


NAMES = st.sampled_from(
    [*YIELDS, "guard passed", "smallest margin", "base_raw_right", "runaway share", "audited pair critics", READ]
)
FIGURES = st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.95, 1.0, 2.0, 40.0])
CHECKS = st.builds(
    check,
    NAMES,
    st.none() | FIGURES,
    st.integers(0, 200),
    st.sampled_from(["<", "<=", ">="]),
    FIGURES,
    share=st.booleans(),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Store.open(tmp_path_factory.mktemp("outcomes") / "s.duckdb") as opened:
        yield opened


@settings(max_examples=60, deadline=None)
@given(found=st.lists(CHECKS, min_size=1, max_size=20))
def test_sql_and_python_say_the_same(found: list[Row], store: Store) -> None:
    values = ", ".join(
        f"({place}, '{row['check_name']}', {_sql(row['measured'])}, {_sql(row['lo'])}, {row['n']}, '{row['op']}', "
        f"{row['threshold']!r}::DOUBLE, {row['passed']})"
        for place, row in enumerate(found)
    )
    with store.reader() as reader:
        told = reader.query(
            f"SELECT {RESULT_SQL} AS result FROM (VALUES {values}) "
            "AS v(place, check_name, measured, lo, n, op, threshold, passed) ORDER BY place"
        )
    assert [row["result"] for row in told] == [with_result(row)["result"] for row in found]
    assert {row["result"] for row in told} <= set(RESULTS)


def _sql(value: float | None) -> str:
    return "NULL::DOUBLE" if value is None else f"{value!r}::DOUBLE"


def test_the_reader_tells_results(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as opened:
        opened.append(rows.small_run("run-a") | {"gates": [row for row, _ in SITUATIONS[:1]]})
        with opened.reader() as reader:
            (told,) = reader.gates("run-a")
            (gate,) = reader.status("run-a")["gates"]
    assert (told["result"], told["passed"]) == ("not tested", False)
    assert (gate["result"], gate["passed"]) == ("not tested", False)
