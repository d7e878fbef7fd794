"""A run's probe of samples fitted anew on persons' labels, and all that it decided decided again.

What is computed on the way (states, the fit, log-odds) is kept as it comes and found again; what the run holds is
changed in one transaction at the end. A process that is killed before leaves the run as it was, and the same order
finishes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.core.errors import SpecError
from engine.core.events import CriticAudited, PhaseFinished, PhaseProgressed, PhaseStarted
from engine.critics import Judgement, Subject
from engine.critics.audit import Calibrated, calibrate, chunk_of, judge
from engine.critics.probed import fitted
from engine.phases.judgements import judgement_row
from engine.phases.work import Work
from engine.quality import labels, teaching
from engine.quality.anew import decide_anew, pairs_of, stored_decisions
from engine.quality.gates import Decision, Evidence, decide, evidence_sha256
from engine.spec.stage import StageSpec
from store.names import PERSON, REFIT, STOOD_IN
from store.read import Reader
from store.salvage.clock import utc_now

ANEW = ("probe", "mean")  # critics whose word follows from the probe

_JUDGED = """
    SELECT s.sample_id AS id, s.ordinal, i.text AS instruction, s.response, s.stop_reason
    FROM samples s JOIN instructions i USING (run_id, instruction_id)
    SEMI JOIN (SELECT subject_id AS sample_id FROM judgements WHERE run_id = $1 AND subject_kind = 'sample')
        USING (sample_id)
    WHERE s.run_id = $1
"""
_CANDIDATES = """
    SELECT c.candidate_id AS id, c.ordinal, i.text AS instruction, c.response, c.stop_reason
    FROM candidates c JOIN instructions i USING (run_id, instruction_id)
    SEMI JOIN (SELECT subject_id AS candidate_id FROM judgements WHERE run_id = $1 AND subject_kind = 'candidate')
        USING (candidate_id)
    WHERE c.run_id = $1
"""
_SUBJECTS = {"sample": _JUDGED, "candidate": _CANDIDATES}
_CRITICS = "SELECT DISTINCT critic FROM judgements WHERE run_id = ? AND subject_kind = 'sample'"

Row = dict[str, Any]


def require_refit(reader: Reader, run: Mapping[str, Any], spec: StageSpec) -> None:
    """Raise SpecError where a run has no probe of samples, or nothing that one could be fitted on anew."""
    run_id = run["run_id"]
    if (name := (run["manifest"].get(STOOD_IN) or {}).get("sample")) is not None:
        raise SpecError(
            f"run {run_id} has no probe of samples to be fitted anew: {name} judged in its place, as hidden states "
            "were not shown",
            "A new run can be fitted anew where they are (CAI_BACKEND=transformers). The labels are kept, nothing was "
            "changed.",
        )
    if "probe" not in spec.critics.sample:
        raise SpecError(
            f"run {run_id} has no probe of samples to be fitted anew",
            "Begin a run with --set critics.sample=[probe]. The labels are kept, nothing was changed.",
        )
    if not teaching.lessons(reader, run["fingerprint"]).taught and not run["manifest"].get(teaching.TAUGHT):
        raise SpecError(
            f"no sample of the model of run {run_id} is labelled good or bad",
            "Label some first: Q in the room Samples, or cai label. Nothing was changed.",
        )


def refit(work: Work, reason: str) -> str:
    """Fit the probe, judge samples and candidates by it, decide anew, and record who wanted it and why.

    Returns what came of it in one line. Raises SpecError where the model of the run shows no hidden states any more.
    """
    spec, reader, run_id = work.spec, work.reader, work.run_id
    if "probe" not in spec.critics.sample:
        raise SpecError(
            "this backend shows no hidden states, so that no probe can be fitted",
            "Run it with CAI_BACKEND=transformers. The labels are kept, nothing was changed.",
        )
    found = teaching.lessons(reader, work.answers.model.fingerprint)
    counts = {kind: _count(reader, run_id, kind) for kind in _SUBJECTS}
    planned = sum(counts.values())
    work.emit(PhaseStarted(run_id, REFIT, planned))
    asked = spec.instructions.kind
    critics = list(calibrate(work.answers, spec.critics, "sample", asked, found.taught))
    of = fitted(work.answers, "sample", asked, found.taught)
    held_out, probe = of.held_out.get(PERSON, []), of.critic.probe.sha256
    judged_by = {row["critic"] for row in reader.query(_CRITICS, [run_id])}
    anew = [one for one in critics if one.critic.name in ANEW or one.critic.name not in judged_by]
    may_filter = [one.critic.name for one in critics if one.may_filter]
    judgements: list[Row] = []
    done = 0
    for kind in _SUBJECTS:
        for chunk in _judged(work, kind, anew):
            judgements += [judgement_row(run_id, kind, j, may_filter) for j in itertools.chain(*chunk)]
            done += len(chunk)
            work.emit(PhaseProgressed(run_id, REFIT, done, planned, None))
    now = utc_now()
    run = reader.run(run_id)
    before = (run["manifest"].get(teaching.TAUGHT) or {}).get("labels") or []
    kept = found.kept(probe, [log_odds for *_, log_odds in held_out], now)
    run["manifest"] = run["manifest"] | {teaching.TAUGHT: kept}
    evidence = _evidence(reader, run_id, critics, judgements)
    pairs = pairs_of(reader, run_id, spec)
    candidates = _candidates(reader, run_id, spec, judgements, may_filter)
    rechecked = pairs.under(spec) if pairs is not None else None
    made = decide_anew(reader, run, evidence.under(spec), rechecked, "a probe fitted anew", now, candidates)
    decision = {
        "run_id": run_id,
        "decision_id": f"refit-{now:%Y%m%d-%H%M%S-%f}",
        "topic": "probe",
        "question": f"sample probe fitted on persons' labels: {len(before)} -> {len(found.taught)}, {probe[:12]}",
        "answer": "refitted",
        "reason": reason.strip(),
        "decided_by": "person",
        "evidence_sha256": evidence_sha256(made.checks[""]),
        "at": now,
    }
    audits = [{"run_id": run_id, **audit} for one in critics for audit in one.audits]
    work.store.put({**made.rows, "audits": audits, "judgements": judgements, "decisions": [decision]})
    labels.audit_anew(work.store, run_id)
    for one in critics:
        for audit in one.audits:
            work.emit(CriticAudited(run_id, one.critic.name, audit["part"], audit["auc"], one.may_filter, "sample"))
    work.emit(PhaseFinished(run_id, REFIT, done, None))
    filters = "it filters" if "probe" in may_filter else "it did not pass its audit"
    return (
        f"probe fitted on {len(found.taught)} persons' labels, {made.moved['sample']} samples changed sides; {filters}"
    )


def _count(reader: Reader, run_id: str, kind: str) -> int:
    return int(reader.query(f"SELECT count(*) AS n FROM ({_SUBJECTS[kind]})", [run_id])[0]["n"])


def _judged(work: Work, kind: str, critics: Sequence[Calibrated]) -> Iterator[list[list[Judgement]]]:
    rows = work.reader.in_order(_SUBJECTS[kind], [work.run_id])
    items = (Subject(row["id"], row["instruction"], row["response"], row["stop_reason"]) for row in rows)
    judged = judge(work.answers, critics, items)
    while chunk := list(itertools.islice(judged, chunk_of(work.answers))):
        yield chunk


def _evidence(reader: Reader, run_id: str, critics: Sequence[Calibrated], judgements: Sequence[Row]) -> Evidence:
    """The run's, with the new judgements and audits in the place of the old."""
    evidence = Evidence.read(reader, run_id)
    scores = dict(evidence.scores)
    for row in judgements:
        if row["subject_kind"] == "sample":
            key = "sample", row["subject_id"]
            scores[key] = scores.get(key, {}) | {row["critic"]: row["score"]}
    aucs = evidence.aucs | {
        ("sample", one.critic.name): min(audit["auc"] or 0.0 for audit in one.audits) for one in critics if one.audits
    }
    return replace(evidence, scores=scores, aucs=aucs)


def _candidates(
    reader: Reader, run_id: str, spec: StageSpec, judgements: Sequence[Row], may_filter: Sequence[str]
) -> dict[str, Decision]:
    """Verdicts on the candidates: their flags are what they were."""
    scores: dict[str, dict[str, float]] = {}
    stored = reader.query(
        "SELECT subject_id, critic, score FROM judgements WHERE run_id = ? AND subject_kind = 'candidate'", [run_id]
    )
    for row in [*stored, *(row for row in judgements if row["subject_kind"] == "candidate")]:
        scores.setdefault(row["subject_id"], {})[row["critic"]] = row["score"]
    return {
        name: decide(scores[name], may_filter, was.flags, spec.critics)
        for (kind, name), was in stored_decisions(reader, run_id).items()
        if kind == "candidate" and name in scores
    }
