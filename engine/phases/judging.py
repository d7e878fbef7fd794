"""Judging: a judge compares answers that an evaluation left, pair by pair in both orders, and win rates are computed.

What was judged is found, not asked again: a server's verdict by the answers that it read, a local model's by the hash
of its request. A server's model costs money, so a person is told what it may cost and has to approve of it first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from engine.core import events
from engine.core.control import Control
from engine.core.errors import ReviewError
from engine.core.figures import cents, count, percent, percents
from engine.critics.pair import CompareCritic, by_order
from engine.evaluation.graded import score_rows
from engine.evaluation.judging import AFTER, BEFORE, ORDERS, REVIEWER, TIE, JudgedPair
from engine.evaluation.judging.pairs import chosen_items, judged_pairs
from engine.evaluation.judging.rates import results_of
from engine.evaluation.judging.wording import INSTRUCTIONS, SCHEMA, read_answer, server_prompt, subject_of
from engine.evaluation.plan import EvaluationPlan, answers_of, evaluation_plan
from engine.models import registry
from engine.models.answers import Answers
from engine.phases.evaluation import PHASE
from engine.review.consultant import Consultant, Paid
from engine.review.prompt import Context, Section, code_sha256
from engine.review.reviewers import Answer, Request, Unanswered
from engine.spec.stage import StageSpec
from store.db import Store
from store.read import Reader
from store.salvage.clock import utc_now

TOPIC = "judging"
AT_ONCE = 8  # calls of a server that wait for each other
SHUFFLES = 1  # orders of the solved examples that a local judge reads, each with both orders of the pair
QUESTION = "May these pairs of answers be sent to the model named, at what it may cost at most?"
TEXT_KEPT = 2_000

Row = dict[str, Any]
Call = tuple[JudgedPair, str]  # a pair, and whose answer stands in front


@dataclass
class Judging:
    """Has the answers of one run judged."""

    store: Store
    reader: Reader
    run: Mapping[str, Any]
    spec: StageSpec
    session_id: str
    control: Control
    emit: events.Emit
    consultant: Consultant
    on_work: Callable[[int, int], None] = lambda tokens, items: None
    batch_size: int | None = None

    def judge(self) -> str:
        """Ask what is missing, and compute win rates; returns them in one line, "" where there is nothing to compare.

        Raises NotApproved where a person has yet to say that a server may be asked, BudgetReached, ReviewError where it
        doesn't answer, ModelError and Interrupted; what was judged is kept.
        """
        plan = evaluation_plan(self.reader, self.run, self.spec)
        judge = plan.settings.judge
        if judge is None:
            return ""
        answers = answers_of(self.reader, self.run["run_id"], plan.items_sha256)
        pairs = judged_pairs(chosen_items(plan.items, plan.settings.judge_items), answers)
        if not pairs:
            return "nothing was judged: there are no two conditions' answers to compare"
        if judge == REVIEWER:
            paid = self.consultant.judge(self.spec)
            self._ask_server(paid, pairs)
            name = paid.name
        else:
            self._ask_local(judge, pairs)
            name = judge
        return self._conclude(name, plan)

    def _conclude(self, name: str, plan: EvaluationPlan) -> str:
        run_id, now = self.run["run_id"], utc_now()
        answers = answers_of(self.reader, run_id, plan.items_sha256)
        rows = results_of(self.reader, run_id, answers, now)
        renewed = {"judge_results": rows}
        if self.reader.query("SELECT 1 FROM evaluation_results WHERE run_id = ? LIMIT 1", [run_id]):
            renewed["evaluation_scores"] = score_rows(self.reader, run_id, answers, now)  # with margins among them
        self.store.renew(run_id, renewed)
        return f"judged by {name}: " + "; ".join(_told(row) for row in rows if row["judge"] == name)

    def _known(self, name: str, pairs: Iterable[JudgedPair]) -> dict[tuple[str, ...], Row]:
        """The verdicts of a judge on these very answers, by pair and order."""
        wanted = {pair.key: (pair.before["request_id"], pair.after["request_id"]) for pair in pairs}
        rows = self.reader.query(
            "SELECT * FROM judge_verdicts WHERE run_id = ? AND judge = ?", [self.run["run_id"], name]
        )
        found: dict[tuple[str, ...], Row] = {}
        for row in rows:
            key = row["question"], row["before"], row["after"], row["item_id"]
            if wanted.get(key) == (row["before_request"], row["after_request"]):
                found[(*key, row["in_front"])] = row
        return found

    def _row(self, name: str, call: Call, preferred: str | None, **fields: Any) -> Row:
        pair, in_front = call
        question, before, after, item_id = pair.key
        return {
            "run_id": self.run["run_id"], "judge": name, "question": question, "before": before, "after": after,
            "item_id": item_id, "in_front": in_front, "before_request": pair.before["request_id"],
            "after_request": pair.after["request_id"], "preferred": preferred, "answered": "",
            "at": utc_now(),
        } | fields  # fmt: skip

    def _keep_alike(self, name: str, pairs: Iterable[JudgedPair], margin: float | None = None) -> None:
        """Keep ties of pairs whose answers are one text."""
        calls = [(pair, order) for pair in pairs if pair.alike for order in ORDERS]
        ties = [self._row(name, call, TIE, margin_nats=margin) for call in calls]
        self.store.put({"judge_verdicts": ties})

    # -- a server ----------------------------------------------------------------------------------------------------

    def _ask_server(self, paid: Paid, pairs: Sequence[JudgedPair]) -> None:
        self._keep_alike(paid.name, pairs)
        calls: list[Call] = [(pair, order) for pair in pairs if not pair.alike for order in ORDERS]
        known = self._known(paid.name, pairs)
        missing = [call for call in calls if (*call[0].key, call[1]) not in known]
        if not missing:
            return
        self._permit(paid, calls, missing)
        if paid.warning:
            self.emit(events.Noted(self.run["run_id"], "warning", paid.warning))
        done = len(calls) - len(missing)
        self.emit(events.PhaseStarted(self.run["run_id"], PHASE, len(calls)))
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="judge") as threads:
            for some in _batched(missing):
                self.control.wait_while_paused()
                asked = [threads.submit(paid.ask, self._request(call)) for call in some]
                failed: BaseException | None = None
                rows = []
                for call, one in zip(some, asked, strict=True):
                    try:
                        rows.append(self._verdict(paid.name, call, one.result()))
                    except BaseException as error:  # what the others were paid for is kept first
                        failed = failed or error
                self.store.put({"judge_verdicts": rows})
                done += len(rows)
                self.emit(events.PhaseProgressed(self.run["run_id"], PHASE, done, len(calls), None))
                if failed is not None:
                    raise failed
        self.emit(events.PhaseFinished(self.run["run_id"], PHASE, done, None))

    def _verdict(self, name: str, call: Call, found: Answer | Unanswered) -> Row:
        if isinstance(found, Unanswered):
            raise ReviewError(
                f"the judge {name} did not answer: {found.failure.text}",
                "What it judged is kept. Give the same command again to have the rest judged.",
            )
        preferred = None if found.problem else read_answer(found.text, call[1])
        tokens = {part: found.facts.get(part) for part in ("input_tokens", "output_tokens")}
        return self._row(name, call, preferred, answered=found.text[:TEXT_KEPT], **tokens)

    def _request(self, call: Call) -> Request:
        pair, order = call
        prompt = server_prompt(pair, order)
        about = self.run["run_id"], "judging", 0, TOPIC, pair.question, prompt
        return Request(*about, instructions=INSTRUCTIONS, schema=SCHEMA)

    def _permit(self, paid: Paid, calls: Sequence[Call], missing: Sequence[Call]) -> None:
        """Return where a person approved of these pairs being sent there. What is paid for already asks nobody anew."""
        settings = paid.inner.settings
        most = cents(paid.at_most(map(self._request, missing)))
        told = (
            f"- {count(len(missing))} calls are missing of {count(len(calls))}: both orders of "
            f"{count(len(calls) // 2)} pairs of answers to test items\n"
            f"- the model {paid.name} at {settings.base_url}\n"
            f"- at most {count(settings.output_tokens)} tokens an answer\n"
            f"- at most {most}" + (f" ({paid.warning})" if paid.warning else "")
        )
        names = ("/".join((*pair.key, pair.before["request_id"], pair.after["request_id"])) for pair, _ in calls)
        evidence = {
            "spec": [paid.name, settings.base_url, settings.output_tokens],
            "data": hashlib.sha256("\n".join(names).encode()).hexdigest(),
            "figures": len(calls),
            "code": code_sha256(),
        }
        self.consultant.permit(
            self.spec, TOPIC, QUESTION, Context((Section("What would be sent", told, quoted=False),), evidence)
        )

    # -- a local model -----------------------------------------------------------------------------------------------

    def _ask_local(self, name: str, pairs: Sequence[JudgedPair]) -> None:
        """A verdict is the sign of the margin between the letters of both answers, as a critic of pairs has it."""
        self._keep_alike(name, pairs, 0.0)
        run_id, critic = self.run["run_id"], CompareCritic(SHUFFLES)
        asks = {pair.key: critic.asks(subject_of(pair)) for pair in pairs if not pair.alike}
        of = {pair.key: pair for pair in pairs}
        self.emit(events.ModelLoading(run_id, name))
        model = registry.load(name, batch_size=self.batch_size)
        try:
            facts = {"judge": {"name": name, "fingerprint": model.fingerprint, **model.facts}}
            self.store.update_run(run_id, manifest=self.reader.run(run_id)["manifest"] | facts)
            self.emit(events.PhaseStarted(run_id, PHASE, len(pairs)))
            answers = Answers(model, self.store, self.session_id, self.control, self.on_work)
            requests = [ask.request for some in asks.values() for ask in some]
            scores = {answer.request: (key, answer.logprobs) for key, answer in answers.score(requests)}
        finally:
            model.close()
        rows = []
        for key, some in asks.items():
            parts = [{"variant": ask.variant, "logprobs": scores[ask.request][1]} for ask in some]
            margins = by_order(parts)
            assert margins is not None
            # With the answer after in front the critic's response is in front.
            for order, margin, ask in zip((AFTER, BEFORE), margins, some, strict=True):
                preferred = AFTER if margin > 0 else BEFORE if margin < 0 else TIE
                asked = scores[ask.request][0]
                rows.append(self._row(name, (of[key], order), preferred, margin_nats=margin, request_id=asked))
        self.store.put({"judge_verdicts": rows})
        self.emit(events.PhaseFinished(run_id, PHASE, len(pairs), None))


def _batched(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    for start in range(0, len(calls), AT_ONCE):
        yield calls[start : start + AT_ONCE]


def _told(row: Mapping[str, Any]) -> str:
    """A win rate in words: at equal length where there is one."""
    rate, lo, hi = (row.get(name) for name in ("lc_win_rate", "lc_lo", "lc_hi"))
    kind = " at equal length"
    if rate is None:
        rate, lo, hi, kind = row.get("win_rate"), row.get("lo"), row.get("hi"), ""
    if rate is None:
        return f"{row['after']} against {row['before']} {row['question']}: no verdict"
    interval = "" if lo is None else f" {percents(lo, hi)}"
    return f"{row['after']} wins {percent(rate)}{interval}{kind} against {row['before']}, {row['question']}"
