"""How the models were trained: settings that changed, decisions, trainings and their curves."""

from __future__ import annotations

from engine.report import figures
from engine.report.document import Document, col


def settings(doc: Document) -> None:
    """The spec with what was changed from it, and the decisions on the way."""
    doc.section("Settings and deviations from the spec")
    run = doc.queries.ask(
        "Spec, model and size of the run",
        "SELECT spec, spec_sha256, model, fingerprint, seed, pilot, target, state, reason FROM runs WHERE run_id = $1",
    )
    doc.say(
        "Spec {spec:code} (SHA-256 {spec_sha256:code}), model {model:code}, seed {seed:code}; a pilot of {pilot:count} "
        "and a target of {target:count} accepted examples. State of the run: {state:words}.",
        run,
    )
    if run.row["reason"]:
        doc.say("In its own words: {reason:text}.", run)
    doc.listed(
        "Settings that differ from the spec",
        "SELECT j.key AS setting, CASE WHEN json_type(j.value) = 'ARRAY' THEN coalesce(j.value->>'$[0]', 'null') END "
        "AS spec_value, coalesce(CASE WHEN json_type(j.value) = 'ARRAY' THEN j.value->>'$[1]' ELSE j.value->>'$' END, "
        "'null') AS used "
        "FROM runs, json_each(runs.overrides) j WHERE run_id = $1 ORDER BY 1",
        "Deviations from the spec.",
        [col("setting", "code"), col("in the spec", "code", "spec_value"), col("used", "code")],
        "Every setting is the spec's.",
    )
    doc.listed(
        "Decisions on the run",
        'SELECT "at", topic, question, answer, reason, decided_by, evidence_sha256 FROM decisions WHERE run_id = $1 '
        'ORDER BY "at", decision_id',
        "Decisions, each bound to the hash of the figures it was made on.",
        [col("when", "time", "at"), col("topic", "words"), col("question", "text"), col("answer", "text"),
         col("reason", "text"), col("by", "words", "decided_by"), col("evidence", "short", "evidence_sha256")],
        "No decision was recorded in this run.",
    )  # fmt: skip


def trainings(doc: Document) -> None:
    """One row a training, and its curve of losses."""
    doc.section("Training")
    found = doc.queries.ask(
        "Trainings of the run",
        """
        SELECT t.training_id, t.method, t.state,
               count(e.example_id) FILTER (e.split = 'train' AND e.used) AS examples,
               count(e.example_id) FILTER (e.split = 'heldout' AND e.used) AS heldout,
               count(e.example_id) FILTER (NOT e.used) AS too_long,
               (SELECT max(step) FROM training_steps s WHERE s.run_id = $1 AND s.training_id = t.training_id) AS steps,
               t.planned_steps, t.adapter_step, t.heldout_before,
               (SELECT heldout_loss FROM training_steps s WHERE s.run_id = $1 AND s.training_id = t.training_id
                AND heldout_loss IS NOT NULL ORDER BY step = t.adapter_step DESC, step DESC LIMIT 1) AS heldout_after,
               t.device, t.elapsed_s / 3600 AS hours, t.data_sha256, t.adapter_sha256
        FROM trainings t
        LEFT JOIN training_examples e ON e.run_id = t.run_id AND e.training_id = t.training_id
        WHERE t.run_id = $1 GROUP BY ALL ORDER BY min(t.started_at), t.training_id
        """,
    )
    if not found:
        doc.say("No model was trained in this run.", found)
        return
    doc.table(
        "Trainings.",
        found,
        [col("training", "code", "training_id"), col("method", "words"), col("state", "words"),
         col("examples", "count"), col("held out", "count", "heldout"), col("too long", "count", "too_long"),
         col("steps", "count"), col("planned", "count", "planned_steps"),
         col("adapter of step", "count", "adapter_step"), col("held-out loss before", "loss", "heldout_before"),
         col("after", "loss", "heldout_after"), col("hours", "hours"), col("device", "text")],
    )  # fmt: skip
    doc.table(
        "SHA-256 of what each was trained on and of the adapter that it left.",
        found,
        [col("training", "code", "training_id"), col("data", "code", "data_sha256"),
         col("adapter", "code", "adapter_sha256")],
    )  # fmt: skip
    steps = doc.queries.ask(
        "Loss of each training by step",
        "SELECT s.training_id, step, loss, heldout_loss, s.learning_rate FROM training_steps s "
        "JOIN trainings t ON t.run_id = s.run_id AND t.training_id = s.training_id WHERE s.run_id = $1 "
        "ORDER BY t.started_at, s.training_id, step",
    )
    if not steps:
        doc.say("No step of a training was recorded.", steps)
        return
    told = "loss by step: nats per supervised token, for preferences per pair. Held-out loss where it was measured."
    doc.figure(figures.curves(steps), steps, told)
