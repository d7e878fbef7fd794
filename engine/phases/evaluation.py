"""Evaluation: held-out items asked under every condition, verified by code, audited, and compared.

What was answered before is found, not computed again; verdicts, audit and results are made anew from it each time, so a
better verifier costs no token. The order is that of a claim: the scorer's audit and the gap gate come first, and where
the audit fails no result is left behind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core import events
from engine.core.control import Control
from engine.evaluation import IN_CONTEXT, REFERENCE, TUNED_CONDITIONS, Item, analysis, registration
from engine.evaluation import scorer_audit as audit
from engine.evaluation.conditions import Condition, answer_of, broken_adapters, in_context, request_of
from engine.evaluation.gap import GATE, gap_checks, gap_evidence, what_instead
from engine.evaluation.graded import score_rows
from engine.evaluation.inference.summary import summary
from engine.evaluation.items import plants, tricky_answers, written_plants
from engine.evaluation.judging.rates import results_of
from engine.evaluation.needs import over_seeds, readers
from engine.evaluation.plan import EvaluationPlan, answers_of, evaluation_plan
from engine.evaluation.verifiers import verify
from engine.models import registry
from engine.models.answers import Answers
from engine.models.requests import Model, request_id
from engine.phases.references import score_references
from engine.phases.work import loaded_work
from engine.quality import gates
from engine.spec.provenance import derived_seed, new_session_id, short_hash
from engine.spec.stage import StageSpec, settings_of
from engine.training.examples import examples
from store.db import Store
from store.names import ANSWER
from store.read import Reader
from store.salvage.clock import utc_now

PHASE = "evaluation"
HELD = 32
PLANTED_ITEMS = 6  # of each type whose eight planted answers are verified, besides those written by hand
NOTHING = "\n\nI hope that this is of some help to you."
REPEATED_AT_LEAST = 8
# What other runs were answered when they asked the same again; of answers that they found as well, the same text.
_AGAIN = """
    SELECT a.request_id, min(r.answer) AS answer FROM evaluation_repeats r
    JOIN evaluation_answers a USING (run_id, condition, item_id)
    WHERE r.run_id != ? AND a.request_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY 1
"""
NO_RESULTS: dict[str, list[Any]] = {"evaluation_results": [], "evaluation_scores": [], "evaluation_seeds": []}

Row = dict[str, Any]
_LAST_SENTENCE = re.compile(r"(?s)(?<=[.!?\n])\s*[^.!?\n]+[.!?]*\s*\Z")


@dataclass
class Evaluator:
    """Evaluates the models of one run."""

    store: Store
    reader: Reader
    run: Mapping[str, Any]
    spec: StageSpec
    session_id: str
    control: Control
    emit: events.Emit
    on_work: Any = lambda tokens, items: None
    batch_size: int | None = None
    claims: bool = False  # whether a registered result came out

    def evaluate(self) -> tuple[str, str]:
        """Ask, verify, audit and compare. Returns the state (done, gate_failed) and one line that says what came out.

        Raises EvaluationError and ModelError, Interrupted where a person stopped it; what was answered is kept.
        """
        plan = evaluation_plan(self.reader, self.run, self.spec)
        run_id = self.run["run_id"]
        self.store.append({"evaluation_items": [item.row(plan.items_sha256) for item in plan.items]})
        self._planned, self._done = len(plan.items) * len(plan.conditions), 0
        self.emit(events.PhaseStarted(run_id, PHASE, self._planned))
        for adapter in broken_adapters(self.reader, run_id):
            text = f"the adapter {adapter.training_id} is not asked: {adapter.folder} is not as it was written"
            self.emit(events.Noted(run_id, "warning", text))
        planted = self.plant(plan)
        if failed := audit.blocked(planted):
            self._leave_no_results(plan, {"scorer_audits": planted})
            return "gate_failed", f"the scorer's audit failed before anything was asked: {', '.join(failed)}"
        self._ask_all(plan)
        self.emit(events.PhaseFinished(run_id, PHASE, self._done, None))
        return self.conclude(plan, planted)

    def conclude(self, plan: EvaluationPlan, planted: Sequence[Row]) -> tuple[str, str]:
        """Audit the scorer on what was answered, decide the gap gate, and compare; asks no model."""
        run_id, settings = self.run["run_id"], plan.settings
        self._verify_again(plan)
        labels = self.reader.query(
            "SELECT * FROM person_labels WHERE run_id = ? AND subject_kind = ?", [run_id, ANSWER]
        )
        self._take_readings(plan, labels)
        answers = answers_of(self.reader, run_id, plan.items_sha256)
        now = utc_now()
        found = [
            *planted,
            *audit.confounds(answers, settings),
            *audit.undecided(answers),
            *readers.person(labels, answers, settings),
            *readers.readers(labels, answers, settings),
        ]
        audits = [{**row, "run_id": run_id, "scorer_sha256": plan.scorer_sha256} for row in found]
        failed = audit.blocked(audits)
        gates_of, gap = self._gap(answers, plan, now)
        results: list[Row] = []
        looks: list[Row] = []
        scores: list[Row] = []
        if not audit.broken(audits) and any(row["condition"] in TUNED_CONDITIONS for row in answers):
            # With too much undecided nothing registered is tested, so that no look is spent before somebody has read.
            registered = None if failed else registration.current(self.reader, run_id)
            before = self.reader.query("SELECT * FROM evaluation_looks WHERE run_id = ?", [run_id])
            made = analysis.compare(answers, settings, registered, looks=before, now=now)
            results = [{**row, "run_id": run_id} for row in made.results]
            looks = [{**row, "run_id": run_id} for row in made.looks]
            scores = score_rows(self.reader, run_id, answers, now)
        self.store.append({"evaluation_looks": looks})  # before anybody can see what they looked at
        renewed = {"scorer_audits": audits, "evaluation_results": results, "evaluation_scores": scores}
        renewed |= {"gates": gates_of, "judge_results": results_of(self.reader, run_id, answers, now)}
        self.store.renew(run_id, renewed, only={"gates": {"gate": GATE}})
        over_seeds.renew(self.store, self.reader, self.run, plan.items_sha256, now)
        self.emit(events.GateDecided(run_id, GATE, not gap, gap))
        if failed:
            read = "" if audit.broken(audits) else ". Read what is undecided: b in the room Evaluation"
            return "gate_failed", f"no claim can be made, the scorer's audit failed: {', '.join(failed)}{read}"
        if gap:
            return "gate_failed", f"the gap gate failed ({', '.join(gap)}). {what_instead(gap)}"
        self.claims = any(row["role"] == "primary" for row in results)
        return "done", summary(answers, results, settings.capability)

    # -- asking ------------------------------------------------------------------------------------------------------

    def plant(self, plan: EvaluationPlan) -> list[Row]:
        """Whether the verifiers judge planted answers as they must, as rows of `scorer_audits`."""
        chosen: dict[str, list[Item]] = {}
        for item in plan.items:
            if len(chosen.setdefault(item.item_type, [])) < PLANTED_ITEMS:
                chosen[item.item_type].append(item)
        asked = {item.capability for item in plan.items}
        made = [plant for items in chosen.values() for item in items for plant in plants(item)]
        made += [plant for plant in written_plants() if plant.item.capability in asked]
        tricky = [plant for plant in tricky_answers("audit") if plant.item.capability in asked]
        rows = audit.planted(verify, made, plan.settings) + audit.error_rates(verify, tricky)
        return [{**row, "run_id": self.run["run_id"], "scorer_sha256": plan.scorer_sha256} for row in rows]

    def _ask_all(self, plan: EvaluationPlan) -> None:
        own = [one for one in plan.conditions if one.name != REFERENCE]
        with loaded_work(
            self.store, self.reader, self.run, self.spec, session_id=self.session_id, control=self.control,
            emit=self.emit, on_work=self.on_work, batch_size=self.batch_size,
        ) as work:  # fmt: skip
            for condition in own:
                if condition.adapter is None:
                    work.answers.model.use(None)
                else:
                    work.answers.model.use(condition.adapter.folder, condition.adapter.sha256)
                self._ask(plan, condition, work.answers)
        for condition in plan.conditions:
            if condition.name != REFERENCE:
                continue

            self.emit(events.ModelLoading(self.run["run_id"], condition.model))
            model = registry.load(condition.model, batch_size=self.batch_size, chat=True)  # the base was closed before
            try:
                facts = {"reference": {"name": condition.model, "fingerprint": model.fingerprint, **model.facts}}
                run = self.reader.run(self.run["run_id"])
                self.store.update_run(self.run["run_id"], manifest=run["manifest"] | facts)
                answers = Answers(model, self.store, self.session_id, self.control, self.on_work)
                self._ask(plan, condition, answers)
            finally:
                model.close()

    def _ask(self, plan: EvaluationPlan, condition: Condition, answers: Answers) -> None:
        shown = self._shown(plan, answers.model) if condition.name == IN_CONTEXT else []
        asked = {request_of(condition.name, item, plan.settings, answers.model, shown): item for item in plan.items}
        computed = answers.computed
        rows = self.reader.query(
            'SELECT item_id, request_id, scorer_sha256, "at" FROM evaluation_answers '
            "WHERE run_id = ? AND condition = ?",
            [self.run["run_id"], condition.name],
        )
        answered_at = {row["request_id"]: row["at"] for row in rows}
        self._forget(plan, condition, rows, {request_id(answers.model.fingerprint, one): asked[one] for one in asked})
        held: list[Row] = []
        for key, completion in answers.complete(asked):
            item = asked[completion.request]
            text = answer_of(condition.name, item, completion.text)
            held.append(
                {
                    "run_id": self.run["run_id"],
                    "condition": condition.name,
                    "item_id": item.item_id,
                    "items_sha256": plan.items_sha256,
                    "fingerprint": answers.model.fingerprint,
                    "request_id": key,
                    "answer": text,
                    "n_tokens": len(completion.token_ids),
                    "stop_reason": completion.stop_reason,
                    **_judged(item, text, plan.scorer_sha256),
                    # When it was first answered: a registration counts only if it is older than that.
                    "at": answered_at.get(key) or utc_now(),
                }
            )
            self._done += 1
            if len(held) >= HELD:
                self._keep(held)
        self._keep(held)
        self._repeat(plan, condition, answers.model, asked, anew=answers.computed > computed)
        if plan.settings.reference_logprobs:
            score_references(self.store, self.run["run_id"], plan, condition.name, answers)

    def _shown(self, plan: EvaluationPlan, model: Model) -> list[tuple[str, str]]:
        """The accepted examples of the control in context: those of SFT in an order drawn by the run's seed.

        A repeat, which has no data and whose seed is that of its trainings, shows what the run that it repeats did.
        """
        first = self.reader.run(over_seeds.first_of(self.run))
        accepted = examples(self.reader, first, "sft", 0.0)
        rows = list(accepted.train)
        random.Random(derived_seed(first["seed"], IN_CONTEXT)).shuffle(rows)
        pairs = [(accepted.instructions[accepted.of[row["id"]]][0], row["completion"].strip()) for row in rows]
        found = in_context(pairs, plan.items, plan.settings, model)
        run = self.reader.run(self.run["run_id"])
        facts = {IN_CONTEXT: {"shown": len(found), "of": len(pairs)}}
        self.store.update_run(self.run["run_id"], manifest=run["manifest"] | facts)
        text = f"{IN_CONTEXT} is shown {len(found):,} of {len(pairs):,} accepted examples"
        self.emit(events.Noted(self.run["run_id"], "info" if found else "warning", text))
        return found

    def _forget(
        self, plan: EvaluationPlan, condition: Condition, rows: Sequence[Row], asked: Mapping[str, Item]
    ) -> None:
        """Remove results before an answer or a verdict that they rest on is replaced, and repeats of such answers.

        What a judge made of answers rests on them alone, not on verdicts.
        """
        keys = {item.item_id: key for key, item in asked.items()}
        replaced = any(keys.get(row["item_id"], row["request_id"]) != row["request_id"] for row in rows)
        if replaced:
            only = {"evaluation_repeats": {"condition": condition.name}}
            self._leave_no_results(plan, {"evaluation_repeats": [], "judge_results": []}, only)
        elif any(row["scorer_sha256"] != plan.scorer_sha256 for row in rows):
            self._leave_no_results(plan, {})

    def _leave_no_results(
        self,
        plan: EvaluationPlan,
        renewed: Mapping[str, list[Row]],
        only: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Remove the run's results and renew these tables; of a repeat, the comparisons that it had a part in, too."""
        self.store.renew(self.run["run_id"], {**NO_RESULTS, **renewed}, only=only)
        over_seeds.renew(self.store, self.reader, self.run, plan.items_sha256, utc_now())

    def _keep(self, held: list[Row]) -> None:
        self.store.put({"evaluation_answers": held})
        held.clear()
        self.emit(events.PhaseProgressed(self.run["run_id"], PHASE, self._done, self._planned, None))

    def _repeat(
        self, plan: EvaluationPlan, condition: Condition, model: Model, asked: Mapping[Any, Item], *, anew: bool
    ) -> None:
        """Ask a slice again, one item at a time, and keep how far it agrees; the slice is chosen by a hash.

        Where no answer was computed `anew`, what another run was told when it asked again is taken: such are the
        base's answers in each stage after the first.
        """
        run_id = self.run["run_id"]
        slice_of = sorted(asked, key=lambda request: short_hash("repeat", asked[request].item_id))
        slice_of = slice_of[: max(REPEATED_AT_LEAST, round(plan.settings.repeat_share * len(slice_of)))]
        known = self.reader.query(
            "SELECT item_id FROM evaluation_repeats WHERE run_id = ? AND condition = ?", [run_id, condition.name]
        )
        if not anew and {asked[request].item_id for request in slice_of} <= {row["item_id"] for row in known}:
            return
        first = {
            row["item_id"]: row
            for row in self.reader.query(
                "SELECT item_id, request_id, answer, correct FROM evaluation_answers WHERE run_id = ? "
                "AND condition = ?",
                [run_id, condition.name],
            )
        }
        ids = [first[asked[request].item_id]["request_id"] for request in slice_of]
        found = {} if anew else {r["request_id"]: r["answer"] for r in self.reader.query(_AGAIN, [run_id, ids])}
        rows = []
        for request in slice_of:
            item = asked[request]
            before = first[item.item_id]
            text = found.get(before["request_id"])
            if text is None:
                self.control.wait_while_paused()
                (again,) = model.generate([request])
                text = answer_of(condition.name, item, again.text)
            correct = verify(item, text).correct
            rows.append(
                {
                    "run_id": run_id, "condition": condition.name, "item_id": item.item_id, "answer": text,
                    "same_text": text == before["answer"], "correct": correct,
                    "same_verdict": correct == before["correct"],
                }
            )  # fmt: skip
        self.store.put({"evaluation_repeats": rows})

    def _verify_again(self, plan: EvaluationPlan) -> None:
        """Verify what was answered under conditions that were not asked now, where the verifiers have changed since."""
        run_id = self.run["run_id"]
        stale = self.reader.query(
            "SELECT * FROM evaluation_answers WHERE run_id = ? AND items_sha256 = ? AND scorer_sha256 != ?",
            [run_id, plan.items_sha256, plan.scorer_sha256],
        )
        items = {
            row["item_id"]: Item.of_row(row)
            for row in self.reader.query(
                "SELECT * FROM evaluation_items WHERE items_sha256 = ? AND item_id IN (SELECT unnest(?))",
                [plan.items_sha256, sorted({row["item_id"] for row in stale})],
            )
        }
        anew = [{**row, **_judged(items[row["item_id"]], row["answer"], plan.scorer_sha256)} for row in stale]
        self.store.put({"evaluation_answers": anew})
        repeats = self.reader.query(
            "SELECT r.*, a.correct AS first, i.* FROM evaluation_repeats r "
            "JOIN evaluation_answers a USING (run_id, condition, item_id) "
            "JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id WHERE run_id = ?",
            [run_id],
        )
        names = ("run_id", "condition", "item_id", "answer", "same_text")
        again = [({name: row[name] for name in names}, verify(Item.of_row(row), row["answer"]).correct, row["first"])
                 for row in repeats]  # fmt: skip
        self.store.put(
            {"evaluation_repeats": [row | {"correct": now, "same_verdict": now == was} for row, now, was in again]}
        )

    def _take_readings(self, plan: EvaluationPlan, labels: Sequence[Row]) -> None:
        """Let persons' word stand for the verdict that the rules abstained from; a withdrawn one leaves it open."""
        rows = self.reader.query(
            "SELECT * FROM evaluation_answers WHERE run_id = ? AND items_sha256 = ? AND abstained",
            [self.run["run_id"], plan.items_sha256],
        )
        found = readers.labels_of(labels, rows)
        changed = []
        for row in rows:
            word = readers.word(found.get(f"{row['condition']}/{row['item_id']}", {}))
            correct = {"good": True, "bad": False}.get(word)
            if correct is not row["correct"]:
                changed.append({**row, "correct": correct})
        self.store.put({"evaluation_answers": changed})

    # -- deciding ----------------------------------------------------------------------------------------------------

    def _gap(self, answers: Sequence[Row], plan: EvaluationPlan, now: datetime) -> tuple[list[Row], tuple[str, ...]]:
        """The checks as rows of `gates`, which stand in place of all earlier ones, and the names of those that fail."""
        checks = gap_checks(answers, plan.settings)
        evidence = gap_evidence(answers, plan.items_sha256, plan.scorer_sha256)
        rows = [gates.gate_row(self.run["run_id"], GATE, check, evidence, now) for check in checks]
        return rows, tuple(check.name for check in checks if check.fails)


def _judged(item: Item, text: str, scorer_sha256: str) -> Row:
    """What the verifier says of an answer, under its three rules, and of the same answer cut and padded."""
    verdict = verify(item, text)
    return {
        "scorer_sha256": scorer_sha256,
        "correct": verdict.correct,
        "abstained": verdict.correct is None,
        "strict": verdict.strict,
        "loose": verdict.loose,
        "trimmed": bool(verify(item, _LAST_SENTENCE.sub("", text)).correct),
        "padded": bool(verify(item, text + NOTHING).correct),
        "why": verdict.why,
    }


def conclude(store: Store, run_id: str) -> tuple[str, str]:
    """Audit the scorer, decide the gap gate and compare, all from stored answers; returns what `evaluate` does."""
    with store.reader() as reader:
        run = reader.run(run_id)
        spec = settings_of(run)
        evaluator = Evaluator(store, reader, run, spec, new_session_id(), Control(), lambda event: None)
        plan = evaluation_plan(reader, run, spec)
        return evaluator.conclude(plan, evaluator.plant(plan))
