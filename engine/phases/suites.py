"""Benchmarks asked of a run's own models: the base as it stands and in the training format, adapters in the latter.

Answers that are in the store are found, not computed again; rows and statistics of a suite are made anew from all
conditions each time, and replace what it had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.core import events
from engine.core.control import Control
from engine.core.figures import decimals, interval, signed
from engine.evaluation.conditions import Condition, conditions_of
from engine.evaluation.suites.analysis import analysed
from engine.evaluation.suites.harness import Suite, load, outcomes
from engine.models.answers import Answers
from engine.phases.evaluation import PHASE
from engine.phases.work import HELD, loaded_work
from engine.spec.stage import StageSpec
from store.db import Store
from store.read import Reader
from store.salvage.clock import utc_now

PLAIN = "base_raw"  # the condition in which a text is continued as it stands
ASKED_OF_BASE = (PLAIN, "base_formatted")  # solved examples in front are the suite's own affair

Row = dict[str, Any]


def asked_conditions(reader: Reader, run: Mapping[str, Any]) -> list[Condition]:
    """The conditions under which suites are asked now: the base twice, and the run's adapters that are whole."""
    found = conditions_of(reader, run, None)
    return [one for one in found if one.adapter is not None or one.name in ASKED_OF_BASE]


@dataclass
class SuiteEvaluator:
    """Asks the models of one run what suites of benchmarks ask."""

    store: Store
    reader: Reader
    run: Mapping[str, Any]
    spec: StageSpec
    session_id: str
    control: Control
    emit: events.Emit
    on_work: Any = lambda tokens, items: None
    batch_size: int | None = None

    def evaluate(self, names: Sequence[str]) -> str:
        """Ask, keep each item's score, and compare; returns one line that says what came out.

        Raises EvaluationError as `load` does, before a model is; ModelError; Interrupted where a person stopped it, and
        what was answered is kept.
        """
        suites = load(names)
        conditions = asked_conditions(self.reader, self.run)
        planned, self._done = len(conditions) * sum(suite.documents for suite in suites), 0
        self.emit(events.PhaseStarted(self.run["run_id"], PHASE, planned))

        def on_answer() -> None:
            self._done += 1
            if self._done % HELD == 0:
                self.emit(events.PhaseProgressed(self.run["run_id"], PHASE, self._done, max(planned, self._done), None))

        rows: dict[str, list[Row]] = {suite.name: [] for suite in suites}
        with loaded_work(
            self.store, self.reader, self.run, self.spec, session_id=self.session_id, control=self.control,
            emit=self.emit, on_work=self.on_work, batch_size=self.batch_size,
        ) as work:  # fmt: skip
            for condition in conditions:
                if condition.adapter is None:
                    work.answers.model.use(None)
                else:
                    work.answers.model.use(condition.adapter.folder, condition.adapter.sha256)
                for suite in suites:
                    rows[suite.name] += _asked(suite, condition, work.answers, on_answer)
        told = [self._settle(suite, rows[suite.name]) for suite in suites]
        self.emit(events.PhaseFinished(self.run["run_id"], PHASE, self._done, None))
        return "; ".join(told)

    def _settle(self, suite: Suite, rows: Sequence[Row]) -> str:
        """Keep a suite's rows and statistics in place of those that it had; returns what came out in words."""
        run_id, now = self.run["run_id"], utc_now()
        means, results = analysed(suite, rows, now)
        tables = {"suite_answers": [{**row, "at": now} for row in rows], "suite_means": means, "suite_results": results}
        self.store.renew(
            run_id,
            {name: [{**row, "run_id": run_id} for row in of] for name, of in tables.items()},
            only={name: {"suite": suite.name} for name in tables},
        )
        return _summary(suite.name, means, results)


def _asked(suite: Suite, condition: Condition, answers: Answers, on_answer: Callable[[], None]) -> list[Row]:
    from engine.phases.harness_model import HarnessModel

    formatted = condition.name != PLAIN
    model = HarnessModel(answers, formatted, on_answer)
    about = {"condition": condition.name, "fingerprint": answers.model.fingerprint}
    return [{**row, **about} for row in outcomes(suite, model, formatted=formatted)]


def _summary(name: str, means: Sequence[Row], results: Sequence[Row]) -> str:
    """The first metric's last comparison, else what each condition has."""
    if not means:
        return f"{name}: its tasks have no metric of single items"
    task, metric = means[0]["task"], means[0]["metric"]
    compared = [row for row in results if (row["task"], row["metric"]) == (task, metric)]
    if not compared:
        of = [row for row in means if (row["task"], row["metric"]) == (task, metric)]
        shares = ", ".join(f"{row['condition']} {decimals(row['mean'])}" for row in of)
        return f"{task} {metric}: {shares} of {of[0]['n']:,} items"
    row = compared[-1]
    limits = "" if row["lo"] is None else f" {interval(row['lo'], row['hi'])}"
    return (
        f"{task} {metric}: {row['before']} {decimals(row['before_mean'])} → {row['after']} "
        f"{decimals(row['after_mean'])}, {signed(row['difference'])}{limits} of {row['n']:,} items, exploratory"
    )
