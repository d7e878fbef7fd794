"""Results that an earlier version decided by items, in the report: read as what they were, and claimed with care."""

from __future__ import annotations

from pathlib import Path

from store.db import Store
from tests.engine.report.conftest import built, section
from tests.engine.report.report_rows import full_run


def test_a_result_that_an_earlier_version_decided_by_items_is_no_claim_unless_templates_show_it(tmp_path: Path) -> None:
    for name, p, claims in (("a", 0.2, False), ("b", None, False), ("c", 0.001, True)):
        found = full_run()
        for row in found["evaluation_results"]:
            row |= {"test": "McNemar exact", "interval_method": "Newcombe", "alpha": 0.05, "clustered_p": p}
            row |= dict.fromkeys(("flip_p", "se", "df", "icc", "design_effect"))
        found["evaluation_scores"] = []
        with Store.open(tmp_path / f"{name}.duckdb") as store:
            store.append(found)
        built(tmp_path / f"{name}.duckdb", "run-a", tmp_path / name, price_per_hour=1.0)
        markdown = (tmp_path / name / "report.md").read_text()
        told = section(markdown, "Question and claim")
        assert ("**Claim.**" in told) == claims
        assert ("McNemar exact takes items of one template for independent" in told) != claims
        if claims:
            assert "with templates as clusters p = 0.0010" in told and "Sign flips" not in told
        assert "were decided by McNemar's test" in markdown and "clustered p" in markdown
        assert "results were decided by a test that takes items of one template" in markdown
