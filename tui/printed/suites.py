"""What the command line shows of benchmarks: what would be asked, and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.core.figures import count
from tui.printed.tables import fact, outcome, plain_table
from tui.words.suites import result_cells, suite_words
from tui.words.text import make_visible, one_line

Row = Mapping[str, Any]


def offer_report(offer: Row) -> Group:
    """What benchmarks would ask, as `engine.analyses.offers.suite_offer` gives it."""
    table = plain_table("suite", "task", "items>", "solved examples>", "version", "metrics")
    for suite in offer["suites"]:
        for task in suite["tasks"]:
            names = map(one_line, (suite["suite"], task["task"]))
            about = count(task["documents"]), count(task["shots"])
            table.add_row(*names, *about, one_line(task["version"]), one_line(", ".join(task["metrics"])))
    asked = [fact("asked of", f"{one['name']}: {one['in_words']}") for one in offer["conditions"]]
    return Group(fact("run", Text(str(offer["run"]), style="bold")), *asked, Text(), table)


def suites_outcome(
    status: Row, account: Row, code: int, reason: str, store: Path, log: Path | None, go_on: str
) -> Group:
    """How asking benchmarks ended, and all that the run has of them; `account` as `evaluation_account` gives it."""
    means, results = account["suite_means"], [row for row in account["suite_results"] if row["whole"]]
    parts: list[RenderableType] = [
        fact("run", Text(str(status["run"]), style="bold")),
        fact("model", one_line(str(status["model"]))),
        *(fact("benchmark", line) for line in suite_words(means, account["suite_results"])),
    ]
    if results:
        table = plain_table(
            "metric", "compared", "items>", "clusters>", "before>", "after>", "difference, 95 %", "p>", "q>"
        )
        for row in results:
            table.add_row(*result_cells(row, results))
        parts += [Text(), table, Text("Exploratory: no benchmark is registered, none carries a claim.")]
    then = [make_visible(reason, limit=2000)] if reason else []
    if code:
        then.append(f"The answers so far are kept. Go on with: {go_on}")
    else:
        then.append(f"write the report:  cai report {status['run']} --out DIR")
    return outcome([*parts, Text()], store, log, then)
