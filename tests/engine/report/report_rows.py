"""A run by hand with everything that a report tells of, and what is known of it by construction."""

from __future__ import annotations

import copy
from datetime import timedelta
from functools import cache
from typing import Any

from engine.evaluation import registration
from engine.evaluation.analysis import compare
from engine.evaluation.graded import graded
from engine.spec.stage import load_spec
from tests.store import rows
from tests.store.rows import T0

Rows = dict[str, list[dict[str, Any]]]

HOSTILE = (
    "<script>alert('x')</script> ![p](http://evil.example/p.png) [link](javascript:alert(1)) | cell | `tick` ``` \n"
    "````\n# heading\n\x1b[31mred\x1b[0m \u202eevil\u202c \u200bzero <img src=http://evil.example onerror=x> &amp; "
    "https://evil.example www.evil.example\n~~~\n</pre></code><b>bold</b> [Q1] [Q999]"
)
SECRET = "sk-abcdefghijklmnop1234567890"
_SMALL = load_spec("stage_1_small_model").settings.evaluation
assert _SMALL is not None
SPEC = _SMALL.model_copy(
    update={"alpha": 0.05, "power": 0.8, "expected_gain": 0.1, "expected_loss": 0.02, "margin": 0.05}
)
ITEMS, SCORER = "cd" * 32, "ab" * 32
TYPES = {"instruction_following": ("arithmetic", "lists", "naming"), "conversation": ("memory",)}
PER_TYPE = 40
CONDITIONS = ("base_raw", "base_formatted", "sft", "dpo")
# Of ten items of a type, how many each condition has right, by the place of the item.
RIGHT = {
    "base_raw": lambda n: n % 10 < 1,
    "base_formatted": lambda n: n % 10 in (0, 1, 9),
    "sft": lambda n: n % 10 < 6,
    "dpo": lambda n: n % 10 < 8,
}


def right(condition: str, place: int) -> bool:
    return bool(RIGHT[condition](place))


def evaluation(run_id: str = "run-a", conditions: tuple[str, ...] = CONDITIONS) -> Rows:
    """Items, answers, repeats, audits, a registration and the results that the analysis makes of them."""
    items, answers, completions, repeats = [], [], [], []
    for capability, types in TYPES.items():
        for item_type in types:
            for place in range(PER_TYPE + 5):
                split = "test" if place < PER_TYPE else "dev"
                item = rows.evaluation_item(
                    f"{item_type}-{place:02}", item_type, capability=capability, split=split,
                    template=f"{item_type}-{place % 20}", history=[["hi", "hello"]] if capability == "conversation" else [],
                )  # fmt: skip
                items.append(item)
                for condition in conditions:
                    answer = rows.evaluation_answer(
                        item["item_id"], condition, right(condition, place), run_id, at=T0 + timedelta(hours=2),
                        answer=HOSTILE if condition == "dpo" else f"{condition} {SECRET}",
                        request_id=f"q-{run_id}-{condition}-{item['item_id']}",
                        padded=right(condition, place) if place else not right(condition, place),
                    )  # fmt: skip
                    answers.append(answer)
                    completions.append(
                        rows.completion(answer["request_id"], decoding={"max_tokens": 48, "temperature": 0.0},
                                        n_tokens=12)
                    )  # fmt: skip
                    if place < 5:
                        same = not (condition == "dpo" and place == 3)
                        repeats.append(
                            {"run_id": run_id, "condition": condition, "item_id": item["item_id"], "answer": "x",
                             "same_text": same, "correct": right(condition, place), "same_verdict": True}
                        )  # fmt: skip
    by_id = {item["item_id"]: item for item in items}
    joined = [answer | {k: v for k, v in by_id[answer["item_id"]].items() if k != "history"} for answer in answers]
    body = registration.body(
        rows.run(run_id), SPEC, ITEMS, SCORER, {"max_tokens": 48, "temperature": 0.0}, conditions,
        {name: {one: [PER_TYPE // 20] * 20 for one in types} for name, types in TYPES.items()},
    )  # fmt: skip
    registered = registration.row(run_id, body, T0 + timedelta(hours=1))
    made = compare(joined, SPEC, registered, draws=200, now=T0 + timedelta(hours=3))
    return {
        "completions": completions,
        "evaluation_items": items,
        "evaluation_answers": answers,
        "evaluation_repeats": repeats,
        "registrations": [registered],
        "scorer_audits": [
            scorer_audit("planted", "all", 1.0, run_id),
            scorer_audit("padding", "dpo", 0.025, run_id, op="<=", threshold=0.05, n=160),
            scorer_audit("format", "dpo", 0.4, run_id, op="", threshold=None, passed=None),
            scorer_audit(
                "readers",
                "all",
                0.83,
                run_id,
                lo=0.6,
                hi=1.0,
                n=24,
                threshold=0.6,
                detail={"readers": {"ana": 24, "ben": 24}, "statistic": "Cohen's kappa", "differ": []},
            ),
        ],
        "evaluation_results": [{**row, "run_id": run_id} for row in made.results],
        "evaluation_scores": [{**row, "run_id": run_id} for row in graded(joined, T0 + timedelta(hours=3))],
        "evaluation_looks": [{**row, "run_id": run_id} for row in made.looks],
    }


def scorer_audit(part: str, subject: str, measured: float, run_id: str = "run-a", **fields: Any) -> dict[str, Any]:
    row = {
        "run_id": run_id, "scorer_sha256": SCORER, "capability": "instruction_following", "part": part,
        "subject": subject, "measured": measured, "lo": None, "hi": None, "n": 96, "op": ">=", "threshold": 0.95,
        "passed": True, "detail": {},
    }  # fmt: skip
    return row | fields


def full_run(run_id: str = "run-a") -> Rows:
    """Data, gates, trainings, an evaluation, decisions and costs."""
    return copy.deepcopy(_full_run(run_id))


@cache
def _full_run(run_id: str) -> Rows:
    found = rows.small_run(
        run_id, state="done", overrides={"critics.accept_above": [0.0, 0.4], "gate.median": [40, None]}, elapsed_s=7200.0,
        manifest={
            "model_license": "gemma", "python": "3.11", "packages": {"torch": "2.13.0", "datasets": None},
            "git": {"commit": "0123abcd" * 5, "modified": False}, "code_sha256": "ab12", "machine": {"cores": 2},
            "model": {"device": "cpu", "dtype": "float32"},
        },
    )  # fmt: skip
    found["sessions"] = [rows.session("session-1", run_id)]
    found["samples"][0]["response"] = HOSTILE
    found["verdicts"][2]["reason"] = HOSTILE
    found["guard_checks"][0]["detail"] = HOSTILE
    found["gates"] += [
        rows.gate("base_raw_right", "gap", run_id, measured=0.1, threshold=0.3, op="<="),
        rows.gate("a|b<i>", "final", run_id),
    ]
    found["metrics"] = [
        rows.metric("elapsed_s", run_id, phase="responses", value=3600.0),
        rows.metric("elapsed_s", run_id, phase="responses", value=360.0),
        rows.metric("elapsed_s", run_id, phase="instructions", value=1800.0),
        rows.metric("repeat_texts", run_id, phase="gate", value=2.0),
        rows.metric("repeat_texts_differing", run_id, phase="gate", value=1.0),
        rows.metric("repeat_scores", run_id, phase="gate", value=8.0),
        rows.metric("repeat_largest_difference_nats", run_id, phase="gate", value=2.5e-6),
    ]
    extra = {"elapsed_s": 600.0, "heldout_before": 2.5, "adapter_sha256": "aa" * 32, "data_sha256": "bb" * 32,
             "adapter_step": 20, "facts": {"seed": 99}}  # fmt: skip
    found["trainings"] = [
        rows.training("sft-1", run_id, state="done", **extra),
        rows.training("dpo-1", run_id, method="dpo", state="done", started_at=T0 + timedelta(hours=1), **extra),
    ]
    found["training_steps"] = [
        rows.training_step(step, name, run_id, heldout_loss=2.0 - step / 40 if step % 10 == 0 else None)
        for name in ("sft-1", "dpo-1")
        for step in range(1, 21)
    ]
    found["training_examples"] = [
        {"run_id": run_id, "training_id": "sft-1", "example_id": f"s{n}", "split": split, "n_tokens": 9, "used": used}
        for n, split, used in ((1, "train", True), (4, "train", False))
    ]
    found["decisions"] = [
        {"run_id": run_id, "decision_id": f"d{n}", "topic": "thresholds", "question": HOSTILE, "answer": "applied",
         "reason": f"because {SECRET}", "decided_by": by, "evidence_sha256": "cd" * 32, "at": T0 + timedelta(minutes=n)}
        for n, by in ((1, "person"), (3, "person"), (5, "spec"))
    ]  # fmt: skip
    found["person_labels"] = [
        {"run_id": run_id, "subject_kind": "sample", "subject_id": "s1", "reader": "ana", "label": "good", "note": "",
         "at": T0 + timedelta(minutes=4)}
    ]  # fmt: skip
    found["replays"] = [
        {"run_id": run_id, "replay_id": "r1", "phase": "responses", "fraction": 0.1, "texts": 40, "texts_same": 38,
         "scores": 20, "largest_difference_nats": 1e-5, "verdicts": 40, "verdicts_same": 40, "detail": {},
         "fingerprint": "fp-1", "at": T0}
    ]  # fmt: skip
    made = evaluation(run_id)
    made["completions"] += found["completions"]
    return found | made
