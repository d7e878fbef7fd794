"""How the models were trained: settings that changed, decisions, trainings and their curves."""

from __future__ import annotations

from engine.report import figures
from engine.report.document import Document, col
from engine.report.query import QueryResult, Row
from engine.training.examples import near

# Looks at results on test items before a training `t` began: each time that results were computed is one.
_LOOKS_BEFORE = (
    '(SELECT count(DISTINCT "at") FROM evaluation_looks l WHERE l.run_id = $1 AND l."at" < min(t.started_at))'
)
# Rows that a training learned from, with the instruction behind each: an answer's, a revision's or a pair's.
_LEARNED = """
    SELECT e.training_id, e.example_id, i.instruction_id, i.text FROM training_examples e JOIN (
        SELECT sample_id AS id, instruction_id FROM samples WHERE run_id = $1
        UNION ALL SELECT r.revision_id, s.instruction_id FROM revisions r JOIN samples s USING (run_id, sample_id)
        WHERE run_id = $1
        UNION ALL SELECT pair_id, instruction_id FROM pairs WHERE run_id = $1
    ) behind ON behind.id = e.example_id
    JOIN instructions i ON i.run_id = e.run_id AND i.instruction_id = behind.instruction_id
    WHERE e.run_id = $1 AND e.used AND e.split = 'train'
"""
# Test items that were asked. The last turn of a conversation is no item without those before it.
_ASKED = """
    SELECT DISTINCT i.item_id, i.prompt FROM evaluation_items i JOIN evaluation_answers a USING (items_sha256, item_id)
    WHERE a.run_id = $1 AND i.split = 'test' AND json_array_length(i.history) = 0
"""


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


def course(doc: Document) -> QueryResult:
    """What happened when, and on which side of the newest registration: registrations, answers, trainings, looks."""
    return doc.queries.ask(
        "The course of the run",
        """
        WITH r AS (SELECT max("at") AS registered_at FROM registrations WHERE run_id = $1),
        gaps AS (SELECT "at" FROM events WHERE run_id = $1 AND kind = 'GateDecided' AND (payload->>'$.gate') = 'gap'),
        told AS (
            SELECT created_at AS began, NULL::TIMESTAMPTZ AS ended, 'run' AS what, spec AS of, NULL::BIGINT AS n
            FROM runs WHERE run_id = $1
            UNION ALL SELECT "at", NULL, 'registration', registration_id, NULL FROM registrations WHERE run_id = $1
            UNION ALL SELECT min(a."at"), max(a."at"), 'answers to test items', a.condition, count(*)
            FROM evaluation_answers a JOIN evaluation_items i USING (items_sha256, item_id)
            WHERE a.run_id = $1 AND i.split = 'test' GROUP BY a.condition
            UNION ALL SELECT started_at, CASE WHEN state = 'done' THEN updated_at END, 'training', training_id, NULL
            FROM trainings WHERE run_id = $1
            UNION ALL SELECT "at", NULL, 'look at results on test items',
                             string_agg(DISTINCT after, ', ' ORDER BY after), count(*)
            FROM evaluation_looks WHERE run_id = $1 GROUP BY "at"
            UNION ALL SELECT min("at"), max("at"), 'gap gate decided', 'first and last', count(*) FROM gaps
            HAVING count(*) > 0
        )
        SELECT told.*, CASE WHEN registered_at IS NULL THEN 'never registered' WHEN what = 'registration' THEN 'itself'
                       WHEN began < registered_at THEN 'before' ELSE 'after' END AS registered
        FROM told, r ORDER BY began, list_position(['run', 'training', 'registration'], what) NULLS LAST, of
        """,
    )


def course_table(doc: Document) -> None:
    """The course of the run as a table."""
    doc.table(
        "What happened in which order, and on which side of the registration.",
        course(doc),
        [col("began", "time"), col("ended", "time"), col("what", "text"), col("of", "words"), col("n", "count"),
         col("before or after the registration", "text", "registered")],
    )  # fmt: skip


def trainings(doc: Document) -> None:
    """One row a training, and its curve of losses."""
    doc.section("Training")
    found = doc.queries.ask(
        "Trainings of the run",
        f"""
        SELECT t.training_id, t.method, t.state,
               count(e.example_id) FILTER (e.split = 'train' AND e.used) AS examples,
               count(e.example_id) FILTER (e.split = 'heldout' AND e.used) AS heldout,
               count(e.example_id) FILTER (NOT e.used) AS too_long,
               (SELECT max(step) FROM training_steps s WHERE s.run_id = $1 AND s.training_id = t.training_id) AS steps,
               t.planned_steps, t.adapter_step, t.heldout_before,
               (SELECT heldout_loss FROM training_steps s WHERE s.run_id = $1 AND s.training_id = t.training_id
                AND heldout_loss IS NOT NULL ORDER BY step = t.adapter_step DESC, step DESC LIMIT 1) AS heldout_after,
               t.device, t.elapsed_s / 3600 AS hours, t.data_sha256, t.adapter_sha256, t.started_at,
               {_LOOKS_BEFORE} AS looks_before
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
         col("began", "time", "started_at"), col("looks at test results before", "count", "looks_before"),
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


def leakage(doc: Document) -> list[str]:
    """How many rows of each training have an instruction that is near a test item's prompt, by the rule of training."""
    learned = doc.queries.ask(
        "Instructions of the rows that models learned from",
        f"SELECT DISTINCT instruction_id, text FROM ({_LEARNED}) ORDER BY 1",
    )
    asked = doc.queries.ask("Prompts of test items without earlier turns", f"{_ASKED} ORDER BY 1")
    if not learned or not asked:
        return []
    rule = doc.queries.ask(
        "From which similarity on two instructions are duplicates",
        "SELECT (settings->>'$.instructions.duplicate_at')::DOUBLE AS at_least FROM runs WHERE run_id = $1",
    )
    shipped = doc.told(
        "Leakage from shipped texts: a test of the program over its data holds that no prompt of an item is near a "
        "labelled or a few-shot text (`tests/engine/evaluation/test_evaluation_items.py`); rows of this run do not.",
        rule,
    )
    if rule.row["at_least"] is None:
        told = "Leakage: whether rows of training are near test items was not measured ({at_least:figure})."
        return [doc.told(told, rule), shipped]
    texts = {row["instruction_id"]: row["text"] for row in learned.rows}
    found = doc.queries.ask(
        "Rows of each training whose instruction is near a test item's prompt, as the program compared them",
        "SELECT training_id, count(*) AS rows, $3 AS at_least, "
        "count(*) FILTER (list_contains($2::VARCHAR[], instruction_id)) AS near, "
        f" (SELECT count(*) FROM ({_ASKED})) AS items FROM ({_LEARNED}) GROUP BY 1 ORDER BY 1",
        near(texts, [row["prompt"] for row in asked.rows], rule.row["at_least"]),
        rule.row["at_least"],
    )
    told = (
        "Leakage: of {rows:count} rows of {training_id:code} {near:count} have an instruction that is the prompt of "
        "one of {items:count} test items, or near it (ROUGE-L of at least {at_least:figure}, as for duplicates). Items "
        "with earlier turns are not compared."
    )
    return [*(doc.told(told, found, row) for row in found.rows), shipped]


def rows_shown(doc: Document) -> None:
    """Three rows of supervised training and three kept pairs, chosen by a hash."""
    rows = doc.queries.ask(
        "Rows of supervised training with the smallest hash",
        """
        SELECT DISTINCT e.example_id, i.text AS instruction, coalesce(r.response, s.response) AS response,
               md5($1 || e.example_id) AS hash
        FROM training_examples e JOIN trainings t USING (run_id, training_id)
        LEFT JOIN revisions r ON r.run_id = e.run_id AND r.revision_id = e.example_id
        JOIN samples s ON s.run_id = e.run_id AND s.sample_id = coalesce(r.sample_id, e.example_id)
        JOIN instructions i ON i.run_id = e.run_id AND i.instruction_id = s.instruction_id
        WHERE e.run_id = $1 AND t.method = 'sft' AND e.used AND e.split = 'train' ORDER BY hash LIMIT 3
        """,
    )
    pairs = doc.queries.ask(
        "Kept pairs with the smallest hash",
        "SELECT p.pair_id, p.source, i.text AS instruction, p.chosen, p.rejected FROM pairs p "
        "JOIN instructions i USING (run_id, instruction_id) JOIN verdicts v ON v.run_id = p.run_id "
        "AND v.subject_kind = 'pair' AND v.subject_id = p.pair_id AND v.verdict = 'accepted' "
        "WHERE p.run_id = $1 ORDER BY md5($1 || p.pair_id) LIMIT 3",
    )
    if rows or pairs:
        doc.say(
            "Of the rows of supervised training and of the kept pairs, those with the smallest hash of run and id, so "
            "that nobody chose them."
        )
    for row in rows.rows:
        doc.part("Row of supervised training {example_id:code}", rows, row)
        _texts(doc, row, "instruction", "response")
    for row in pairs.rows:
        doc.part("Kept pair {pair_id:code}, from {source:words}", pairs, row)
        _texts(doc, row, "instruction", "chosen", "rejected")


def _texts(doc: Document, row: Row, *names: str) -> None:
    for name in names:
        doc.say(f"{name.capitalize()}:")
        doc.text(row[name] or "(empty)", limit=1500)
