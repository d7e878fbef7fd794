"""A reliability diagram says what was predicted, what was found, how sure that is, and from where items are accepted."""

from pathlib import Path

import pytest

from store.db import Store
from tests.store import rows
from tests.tui.fakes import RUN, calibrated, fill
from tui.reads.audits import Calibration, calibrations
from tui.widgets.runs.calibration import calibration_lines

BINS = [
    {"n": 100, "probability": 0.05, "share": 0.05, "lo": 0.02, "hi": 0.11},
    {"n": 100, "probability": 0.2, "share": 0.1, "lo": 0.06, "hi": 0.17},
    {"n": 10, "probability": 0.45, "share": 0.6, "lo": 0.31, "hi": 0.83},
]
FRESH = Calibration(
    "sample", "probe", "fresh", 210, 0.055, BINS, 0.0, [-1.0, -0.5, 1.0, 2.0], [False, True, False, True]
)


def drawn(width: int, above: float = -1.0, one: Calibration = FRESH) -> list[str]:
    return [line.plain for line in calibration_lines(one, above, one.accepted(above), width)]


@pytest.mark.parametrize("width", [36, 44, 68, 120])
def test_each_bin_has_its_prediction_its_share_and_its_interval(width: int) -> None:
    lines = drawn(width)
    assert lines[0] == "pair probe · fresh, read blind" and lines[1] == "n=210 · calibration error 0.055"
    bins = [line for line in lines if line[:4] in ("0.05", "0.20", "0.45")]
    assert [line.count("●") + line.count("◈") for line in bins] == [1, 1, 1]
    assert "◈" in bins[0] and bins[1].index("◆") > bins[1].index("●") and bins[2].index("◆") < bins[2].index("●")
    assert " 10 % [6–17]" in bins[1] and ("n=100" in bins[1]) == (width >= 60)
    assert max(map(len, bins)) <= width and any(line.strip().endswith("90 %") for line in lines)  # where the axis ends


def test_the_line_lies_where_items_begin_to_be_accepted() -> None:
    def place(above: float) -> int:
        return next(at for at, line in enumerate(drawn(60, above)) if "accept at" in line)

    assert "accept at 0.27" in drawn(60)[place(-1.0)]
    assert place(-9.0) < place(-1.0) < place(3.0) and drawn(60, 3.0)[place(3.0) - 1].startswith("0.45")
    shifted = Calibration("sample", "probe", "fresh", 210, 0.055, BINS, 1.0, FRESH.scores, FRESH.labels)
    assert any("accept at 0.50" in line for line in drawn(60, -1.0, shifted))


def test_what_a_threshold_would_accept_is_told_with_its_cost() -> None:
    assert drawn(60, 0.0)[2] == "Scores above +0.00: 2 of 4, 50 % good [9–91], 50 % of the good ones."
    assert drawn(60, 5.0)[2] == "Scores above +5.00: none of 4."


def test_fresh_candidates_come_first_and_chosen_mixes_not_at_all(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        more = [("instruction", "own"), ("sample", "planted"), ("sample", "person")]
        store.put(
            {
                "audits": [
                    rows.audit("probe", RUN, subject_kind=kind, part=part, detail=calibrated(30, seed=4))
                    for kind, part in more
                ]
            }
        )
        with store.reader() as reader:
            found = calibrations(reader, RUN)
    assert [(one.subject_kind, one.part, one.n) for one in found] == [
        ("sample", "fresh", 210),
        ("sample", "own", 60),
        ("instruction", "own", 30),
    ]
