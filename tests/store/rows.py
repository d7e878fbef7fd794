"""Rows by hand: one factory a table, each with plausible defaults that a test overrides by name.

`small_run()` is a whole run of four samples, for tests that read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Row = dict[str, Any]


def run(run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "created_at": T0,
        "spec": "stage_1_small_model.md",
        "spec_sha256": "ab" * 32,
        "settings": {"responses": {"max_tokens": 96}, "critics": {"accept_above": 0.4}},
        "overrides": {},
        "seed": 7, "model": "gemma3-270m", "fingerprint": "fp-1",
        "pilot": 40, "target": 40, "until": None,
        "state": "running", "reason": "",
        "elapsed_s": 12.5, "updated_at": T0,
        "manifest": {"model_license": "gemma"},
    }  # fmt: skip
    return row | fields


def session(session_id: str = "session-1", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {"session_id": session_id, "run_id": run_id, "pid": 1, "host": "elsewhere", "started_at": T0}
    return row | fields


def completion(request_id: str, **fields: Any) -> Row:
    row: Row = {
        "request_id": request_id,
        "fingerprint": "fp-1",
        "prompt": f"prompt of {request_id}",
        "decoding": {"temperature": 0.7, "max_tokens": 96},
        "seed": 11,
        "text": f"text of {request_id}",
        "token_ids": [1, 2, 3],
        "n_tokens": 3,
        "n_prompt_tokens": 5,
        "stop_reason": "stop",
        "stop_text": "\n\n",
        "session_id": "session-1",
        "created_at": T0,
    }
    return row | fields


def score(request_id: str, **fields: Any) -> Row:
    row: Row = {
        "request_id": request_id,
        "fingerprint": "fp-1",
        "prompt": f"rubric of {request_id}",
        "labels": ["A", "B"],
        "logprobs": [-0.25, -1.5],
        "n_tokens": [1, 1],
        "session_id": "session-1",
        "created_at": T0,
    }
    return row | fields


def guard_check(check_id: str, run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "check_id": check_id,
        "condition": "raw",
        "prompt": "Water freezes at",
        "answer": " 32 degrees",
        "measured": {"ended": False},
        "passed": True,
        "detail": "",
    }
    return row | fields


def audit(critic: str = "label", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "critic": critic,
        "subject_kind": "sample",
        "part": "own",
        "n_good": 30,
        "n_bad": 30,
        "auc": 0.61,
        "auc_lo": 0.5,
        "auc_hi": 0.72,
        "accuracy": 0.58,
        "label_bias": 0.1,
        "threshold": None,
        "may_filter": False,
        "detail": {"minimum_auc": 0.7},
    }
    return row | fields


def instruction(instruction_id: str, run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "instruction_id": instruction_id,
        "ordinal": 0,
        "request_id": f"q-{instruction_id}",
        "line": 0,
        "seed_ids": ["seed-1", "seed-2"],
        "text": f"Do {instruction_id}.",
        "opening": "do",
        "topic": "other",
        "status": "distinct",
        "duplicate_of": None,
        "similarity": 0.2,
        "cluster_id": f"c-{instruction_id}",
        "split": "train",
    }
    return row | fields


def sample(sample_id: str, instruction_id: str, run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "sample_id": sample_id,
        "ordinal": 0,
        "instruction_id": instruction_id,
        "request_id": f"q-{sample_id}",
        "raw": f"answer {sample_id}\n\n",
        "response": f"answer {sample_id}",
        "trimmed": [{"rule": "whitespace", "start": 9, "end": 11}],
        "stop_reason": "stop",
        "n_tokens": 3,
    }
    return row | fields


def judgement(subject_id: str, critic: str = "label", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "subject_kind": "sample",
        "subject_id": subject_id,
        "critic": critic,
        "margin_nats": 0.4,
        "score": 0.5,
        "audited": False,
        "parts": [{"variant": "AB", "request_id": "r-1", "labels": ["A", "B"], "logprobs": [-0.25, -1.5]}],
    }
    return row | fields


def verdict(subject_id: str, verdict: str = "accepted", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "subject_kind": "sample",
        "subject_id": subject_id,
        "verdict": verdict,
        "basis": "rules",
        "flags": [],
        "reason": "all rules passed",
    }
    return row | fields


def gate(check_name: str, gate: str = "pilot", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "gate": gate,
        "check_name": check_name,
        "measured": 0.02,
        "lo": 0.0,
        "hi": 0.07,
        "n": 100,
        "op": "<",
        "threshold": 0.05,
        "passed": True,
        "subject_ids": [],
        "evidence_sha256": "cd" * 32,
        "decided_at": T0,
    }
    return row | fields


def event(seq: int, kind: str, payload: Row, run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "session_id": "session-1",
        "seq": seq,
        "at": T0 + timedelta(seconds=seq),
        "kind": kind,
        "payload": payload,
    }
    return row | fields


def metric(name: str = "tokens_per_s", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "phase": "responses",
        "name": name,
        "value": 120.0,
        "session_id": "session-1",
        "at": T0,
    }
    return row | fields


def small_run(run_id: str = "run-a", **fields: Any) -> dict[str, list[Row]]:
    """A run with four samples: two accepted (train, test), one rejected (validation), one without a verdict."""
    splits = {"i1": "train", "i2": "test", "i3": "validation", "i4": "train"}
    duplicate = {"status": "duplicate", "duplicate_of": "i1", "similarity": 0.9, "cluster_id": None, "split": None}
    return {
        "runs": [run(run_id, **fields)],
        "completions": [completion(f"q-{name}") for name in ("i1", "i2", "i3", "i4", "s1", "s2", "s3", "s4")],
        "scores": [score("r-1")],
        "guard_checks": [guard_check("water", run_id), guard_check("bos", run_id, condition="encoding")],
        "audits": [audit(run_id=run_id)],
        "instructions": [
            *(instruction(name, run_id, ordinal=n, split=split) for n, (name, split) in enumerate(splits.items())),
            instruction("i5", run_id, ordinal=4, **duplicate),
        ],
        "samples": [
            sample(f"s{n}", f"i{n}", run_id, ordinal=n, response=f"answer {n} {{braces}} \u2028 [b]")
            for n in range(1, 5)
        ],
        "judgements": [
            judgement("s1", run_id=run_id, score=1.25),
            judgement("s1", "rules", run_id, margin_nats=1.0, score=1.0),
            judgement("s2", run_id=run_id, score=-0.5),
            judgement("i1", run_id=run_id, subject_kind="instruction", score=0.75),
        ],
        "verdicts": [
            verdict("s1", run_id=run_id),
            verdict("s2", run_id=run_id),
            verdict("s3", "rejected", run_id, flags=["runaway"], reason="runaway"),
            verdict("i1", run_id=run_id, subject_kind="instruction", basis="critic"),
        ],
        "gates": [
            gate("runaway", run_id=run_id),
            gate("token_limit", run_id=run_id, measured=0.3, passed=False, subject_ids=["s3"]),
            gate("guard", "guard", run_id),
        ],
        "events": [
            event(1, "PhaseStarted", {"phase": "guard", "planned": 2}, run_id),
            event(2, "PhaseFinished", {"phase": "guard", "done": 2, "accepted": None}, run_id),
            event(3, "PhaseStarted", {"phase": "responses", "planned": 40}, run_id),
            event(4, "PhaseProgressed", {"phase": "responses", "done": 3, "planned": 41, "accepted": 2}, run_id),
        ],
    }


def training(training_id: str = "sft-1", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "training_id": training_id,
        "method": "sft",
        "settings": {"learning_rate": 2e-4},
        "state": "running",
        "reason": "",
        "planned_steps": 100,
        "device": "cpu",
        "device_bytes": 24 * 2**30,
        "started_at": T0,
        "updated_at": T0,
    }
    return row | fields


def training_step(step: int, training_id: str = "sft-1", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "training_id": training_id,
        "step": step,
        "epoch": step / 50,
        "loss": 1.0 + 1.0 / step,
        "learning_rate": 2e-4 * (1 - step / 100),
        "grad_norm": 0.5,
        "entropy": None,
        "reward_margin": None,
        "reward_accuracy": None,
        "heldout_loss": None,
        "n_tokens": 360,
        "seconds": 1.8,
        "memory_bytes": 2 * 2**30,
        "session_id": "session-1",
        "at": T0 + timedelta(seconds=2 * step),
    }
    return row | fields


def checkpoint(step: int, training_id: str = "sft-1", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "training_id": training_id,
        "step": step,
        "path": f"{training_id}/step-{step}",
        "n_bytes": 30 * 2**20,
        "heldout_loss": None,
        "at": T0,
    }
    return row | fields


def evaluation_item(item_id: str, item_type: str = "arithmetic", **fields: Any) -> Row:
    row: Row = {
        "items_sha256": "cd" * 32,
        "item_id": item_id,
        "capability": "instruction_following",
        "item_type": item_type,
        "template": f"{item_type}-1",
        "split": "test",
        "history": [],
        "prompt": f"prompt of {item_id}",
        "reference": f"reference of {item_id}",
        "facts": {},
    }
    return row | fields


def evaluation_answer(item_id: str, condition: str, correct: bool, run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "condition": condition,
        "item_id": item_id,
        "items_sha256": "cd" * 32,
        "scorer_sha256": "ab" * 32,
        "fingerprint": "f" * 16,
        "request_id": f"q-{condition}-{item_id}",
        "answer": f"{condition} on {item_id}",
        "n_tokens": 12,
        "stop_reason": "stop",
        "correct": correct,
        "strict": correct,
        "loose": correct,
        "trimmed": correct,
        "padded": correct,
        "why": "equals the reference" if correct else "differs from the reference",
        "at": T0,
    }
    return row | fields


def evaluation_result(item_type: str = "all", run_id: str = "run-a", **fields: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "capability": "instruction_following",
        "before": "base_formatted",
        "after": "sft",
        "item_type": item_type,
        "role": "primary" if item_type == "all" else "secondary",
        "n": 300,
        "before_right": 243,
        "after_right": 298,
        "gained": 57,
        "lost": 2,
        "before_lo": 0.762,
        "before_hi": 0.850,
        "after_lo": 0.976,
        "after_hi": 0.998,
        "difference": 55 / 300,
        "lo": 0.12,
        "hi": 0.25,
        "interval_method": "t with CR2's error",
        "bca_lo": 0.14,
        "bca_hi": 0.23,
        "clusters": 30,
        "clustered_lo": 0.12,
        "clustered_hi": 0.25,
        "clustered_p": 1e-9,
        "test": "cluster-robust t (CR2)",
        "p": 1e-9,
        "se": 0.033,
        "df": 28.0,
        "icc": 0.12,
        "design_effect": 2.1,
        "flip_p": 2e-9,
        "mcnemar_p": 6.1e-15,
        "newcombe_lo": 0.138,
        "newcombe_hi": 0.229,
        "chi2": 49.42,
        "p_chi2": 2.06e-12,
        "p_corrected": None,
        "correction": "",
        "q": None,
        "alpha": 0.05,
        "effect": 0.739,
        "effect_name": "h",
        "power": 0.99,
        "detectable": 0.06,
        "margin": 0.05,
        "p_not_worse": 1e-9,
        "registered": True,
        "evidence_sha256": "ef" * 32,
        "at": T0,
    }
    return row | fields
