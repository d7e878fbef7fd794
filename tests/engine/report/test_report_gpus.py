"""What a report tells of GPUs that were paid for: how long they were looked at, and how much of it they stood idle."""

from pathlib import Path

from store.db import Store
from tests.engine.report.conftest import built, section, table
from tests.store import rows

CAPTION = "How busy the GPUs were by phase"


def test_idle_time_is_told_by_phase_and_without_a_gpu_nothing(tmp_path: Path) -> None:
    kept = (("responses", 5400.0, 80.0), ("gate", 1800.0, 10.0))
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append({"runs": [rows.run("bare", created_at=rows.T0), rows.run("none", created_at=rows.T0)]})
        for phase, seconds, busy in kept:
            figures = (("gpu_measured_s", seconds), ("gpu_busy_percent", busy))
            store.append({"metrics": [rows.metric(name, "bare", phase=phase, value=value) for name, value in figures]})
    for run in ("bare", "none"):
        built(tmp_path / "s.duckdb", run, tmp_path / run)
    told = table(section((tmp_path / "bare" / "report.md").read_text(), "Cost"), CAPTION)
    assert [tuple(row.values()) for row in told] == [
        ("gate", "30.0 min", "27.0 min", "10.0 %"), ("responses", "1.50 h", "18.0 min", "80.0 %"),
    ]  # fmt: skip
    assert CAPTION not in (tmp_path / "none" / "report.md").read_text()
