"""Rows of a suite as a run has them: two tasks, one of them with passages, under three conditions."""

from __future__ import annotations

import random
from typing import Any

from engine.evaluation.suites.analysis import analysed
from tests.engine.evaluation.suites.test_suite_analysis import answered, suite_of
from tests.engine.training.training_run import RUN
from tests.store import rows

RATES = {"base_raw": 0.3, "base_formatted": 0.4, "sft": 0.7}
HOSTILE = "\x1b[2J[red]t|u[/red]"  # a task may be named by a file that somebody wrote


def suite_rows(*tasks: str) -> dict[str, list[dict[str, Any]]]:
    """Sixty items of each task."""
    rng = random.Random(5)
    made = [
        answered(task, at, condition, f"p{at // 3}" if task == "u" else "", acc=float(rng.random() < rate))
        for task in tasks
        for condition, rate in RATES.items()
        for at in range(60)
    ]
    means, results = analysed(suite_of(*tasks), made, rows.T0)
    about = {
        "run_id": RUN, "suite": "s", "doc_sha256": "ab" * 32, "target": "x", "answer": "y", "request_ids": ["r1"],
        "fingerprint": "fa" * 8, "version": "1.0", "shots": 5, "harness": "lm-eval 0.4.13", "at": rows.T0,
    }  # fmt: skip
    return {
        "suite_answers": [{**row, **about} for row in made],
        "suite_means": [{**row, "run_id": RUN} for row in means],
        "suite_results": [{**row, "run_id": RUN} for row in results],
    }
