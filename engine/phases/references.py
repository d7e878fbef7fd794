"""How likely each condition finds the reference answers: their log-probability after what the item was asked by."""

from __future__ import annotations

from typing import Any

from engine.evaluation import BASE_CONDITIONS, TUNED_CONDITIONS
from engine.evaluation.conditions import request_of
from engine.evaluation.plan import EvaluationPlan
from engine.models.answers import Answers
from engine.models.requests import Score
from store.db import Store
from store.salvage.clock import utc_now


def score_references(store: Store, run_id: str, plan: EvaluationPlan, condition: str, answers: Answers) -> None:
    """Score the test items that have a reference answer, in place of what the condition scored before.

    It is teacher forcing: the model is shown the reference token by token, whatever it would have written itself.
    Controls and another model are not scored: no comparison of scores has them.
    """
    if condition not in (*BASE_CONDITIONS, *TUNED_CONDITIONS):
        return
    asked: dict[Any, str] = {}
    for item in plan.items:
        if item.split == "test" and item.reference:
            prompt = request_of(condition, item, plan.settings, answers.model)
            # As the answer would go on: after "Response:" comes a blank, on a line of its own nothing.
            lead = "" if condition == "base_raw" else " "
            asked[Score(prompt.prompt, (f"{lead}{item.reference}",), prompt.shared)] = item.item_id
    rows = [
        {
            "run_id": run_id,
            "condition": condition,
            "item_id": asked[found.request],
            "items_sha256": plan.items_sha256,
            "fingerprint": answers.model.fingerprint,
            "request_id": key,
            "logprob": found.logprobs[0],
            "n_tokens": found.n_tokens[0],
            "at": utc_now(),
        }
        for key, found in answers.score(asked)
    ]
    store.put({"evaluation_logprobs": rows})
