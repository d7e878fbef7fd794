"""Where the data went: the flow from candidates to training rows, the guard, the critics' audits, the gates."""

from __future__ import annotations

import json

from engine.core.errors import SpecError
from engine.report import figures
from engine.report.document import MEASURED, Document, col
from engine.spec.constitution import load_constitution
from store.audits import good_of
from store.headline import headline, of_samples, readings
from store.names import AUDITED, CROSS_VALIDATED, FRESH, SUPERVISED
from store.outcomes import READ_NAMES, RESULT_SQL
from store.preferences import BY_PRINCIPLE

_PARTS = "SELECT part, count(*) AS audits FROM audits WHERE run_id = $1 GROUP BY 1 ORDER BY 1"
# Shares of good ones only of parts that are as they fell: of others half were chosen to be good.
_AUDITS = """
    SELECT critic, subject_kind, part, n_good, n_bad, auc, auc_lo, auc_hi,
           (detail->>'$.calibration_error')::DOUBLE AS "calibration error", (detail->>'$.accepted.taken')::INT AS taken,
           CASE WHEN as_it_fell THEN (detail->>'$.accepted.precision')::DOUBLE END AS precision,
           CASE WHEN as_it_fell THEN (detail->>'$.accepted.lo')::DOUBLE END AS lo,
           CASE WHEN as_it_fell THEN (detail->>'$.accepted.hi')::DOUBLE END AS hi,
           threshold, (detail->>'$.no_scale') IS NULL AS has_scale, may_filter
    FROM (SELECT *, (detail->>'$.accepted.natural')::BOOLEAN AS as_it_fell FROM audits WHERE run_id = $1)
    WHERE part {among} ORDER BY subject_kind, critic, part
"""
_ACCEPTANCE = f"""
    SELECT settings->'$.critics' AS critics,
           (SELECT json_group_object(basis, n) FROM (SELECT basis, count(*) AS n FROM verdicts WHERE run_id = $1
            AND subject_kind = 'sample' AND verdict = 'accepted' GROUP BY 1 ORDER BY 1)) AS by_basis,
           (SELECT json_group_array(json_object('check_name', check_name, 'measured', measured, 'lo', lo, 'hi', hi,
            'n', n, 'threshold', threshold)) FROM (SELECT * FROM gates WHERE run_id = $1 AND gate IN ('pilot', 'final')
            AND check_name IN {READ_NAMES} QUALIFY gate = min(gate) OVER () ORDER BY check_name)) AS read,
           (SELECT json_group_array(json_object('run_id', run_id, 'subject_kind', subject_kind, 'critic', critic,
            'part', part, 'auc', auc, 'may_filter', may_filter, 'accepted', (detail->'$.accepted')::VARCHAR))
            FROM (SELECT * FROM audits WHERE run_id = $1 AND part IN {AUDITED} ORDER BY ALL)) AS audits
    FROM runs WHERE run_id = $1
"""
# A training's rows: the newest supervised one and the newest on pairs.
_LATEST = f"""
    SELECT arg_max(training_id, (started_at, training_id)) FILTER (method = 'sft') AS sft,
           arg_max(training_id, (started_at, training_id)) FILTER (method NOT IN {SUPERVISED}) AS pairs
    FROM trainings WHERE run_id = $1
"""
_FLOW = f"""
    WITH latest AS ({_LATEST}),
    counts AS (
        SELECT (SELECT count(*) FROM instructions WHERE run_id = $1 AND status != 'shipped') AS candidates,
               (SELECT count(*) FROM instructions WHERE run_id = $1 AND status = 'distinct') AS distinct_ones,
               (SELECT count(*) FROM verdicts WHERE run_id = $1 AND subject_kind = 'instruction'
                AND verdict = 'accepted') AS accepted_instructions,
               (SELECT count(*) FROM samples WHERE run_id = $1) AS answered,
               (SELECT count(*) FROM verdicts WHERE run_id = $1 AND subject_kind = 'sample'
                AND verdict = 'accepted') AS accepted_answers,
               (SELECT count(*) FROM training_examples e, latest WHERE e.run_id = $1 AND e.training_id = latest.sft
                AND e.split = 'train' AND e.used) AS sft_rows,
               (SELECT count(*) FROM revisions WHERE run_id = $1) AS revisions,
               (SELECT count(*) FROM verdicts WHERE run_id = $1 AND subject_kind = 'revision'
                AND verdict = 'accepted') AS revisions_kept,
               (SELECT count(*) FROM pairs WHERE run_id = $1) AS pairs,
               (SELECT count(*) FROM verdicts WHERE run_id = $1 AND subject_kind = 'pair'
                AND verdict = 'accepted') AS pairs_kept,
               (SELECT count(*) FROM training_examples e, latest WHERE e.run_id = $1 AND e.training_id = latest.pairs
                AND e.split = 'train' AND e.used) AS pair_rows,
               latest.sft, latest.pairs AS pair_training
        FROM latest
    )
    SELECT step, name, n FROM (
        SELECT 1 AS step, 'candidate instructions' AS name, candidates AS n FROM counts
        UNION ALL SELECT 2, 'distinct instructions', distinct_ones FROM counts
        UNION ALL SELECT 3, 'instructions accepted', accepted_instructions FROM counts
        UNION ALL SELECT 4, 'answered', answered FROM counts
        UNION ALL SELECT 5, 'answers accepted', accepted_answers FROM counts
        UNION ALL SELECT 6, 'rows of supervised training', CASE WHEN sft IS NOT NULL THEN sft_rows END FROM counts
        UNION ALL SELECT 7, 'revisions written', CASE WHEN revisions > 0 THEN revisions END FROM counts
        UNION ALL SELECT 8, 'revisions kept', CASE WHEN revisions > 0 THEN revisions_kept END FROM counts
        UNION ALL SELECT 9, 'preference pairs made', CASE WHEN pairs > 0 THEN pairs END FROM counts
        UNION ALL SELECT 10, 'preference pairs kept', CASE WHEN pairs > 0 THEN pairs_kept END FROM counts
        UNION ALL SELECT 11, 'rows of preference training', CASE WHEN pair_training IS NOT NULL THEN pair_rows END
        FROM counts
    )
    ORDER BY step
"""
_REASON = (
    "CASE WHEN v.basis = 'rules' THEN coalesce(nullif(split_part(v.reason, '; ', 1), ''), 'by a rule') "
    "ELSE 'the ' || v.basis || ': ' || v.verdict END"
)
_EXCLUSIONS = f"""
    WITH latest AS ({_LATEST}),
    reasons AS (
        SELECT 1 AS step, status AS reason, count(*) AS n FROM instructions
        WHERE run_id = $1 AND status NOT IN ('distinct', 'shipped') GROUP BY ALL
        UNION ALL
        SELECT CASE v.subject_kind WHEN 'instruction' THEN 2 WHEN 'sample' THEN 4 WHEN 'revision' THEN 7 ELSE 9 END,
               {_REASON}, count(*)
        FROM verdicts v
        WHERE v.run_id = $1 AND v.verdict != 'accepted'
        AND v.subject_kind IN ('instruction', 'sample', 'revision', 'pair') GROUP BY ALL
        UNION ALL
        SELECT 2, 'not judged', count(*) FROM instructions i
        WHERE i.run_id = $1 AND i.status = 'distinct' AND NOT EXISTS (
            FROM verdicts v WHERE v.run_id = $1 AND v.subject_kind = 'instruction' AND v.subject_id = i.instruction_id)
        UNION ALL
        SELECT 3, 'not answered', count(*) FROM verdicts v
        WHERE v.run_id = $1 AND v.subject_kind = 'instruction' AND v.verdict = 'accepted' AND NOT EXISTS (
            FROM samples s WHERE s.run_id = $1 AND s.instruction_id = v.subject_id)
        UNION ALL
        SELECT 4, 'not judged', count(*) FROM samples s
        WHERE s.run_id = $1 AND NOT EXISTS (
            FROM verdicts v WHERE v.run_id = $1 AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id)
        UNION ALL
        SELECT 5, 'of the test split', count(*) FROM verdicts v
        JOIN samples s ON s.run_id = v.run_id AND s.sample_id = v.subject_id
        JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id, latest
        WHERE v.run_id = $1 AND v.subject_kind = 'sample' AND v.verdict = 'accepted' AND i.split = 'test'
        AND latest.sft IS NOT NULL
        UNION ALL
        SELECT CASE WHEN e.training_id = latest.sft THEN 5 ELSE 10 END,
               CASE WHEN NOT e.used THEN 'longer than the limit of training' ELSE 'held out to measure the loss' END,
               count(*)
        FROM training_examples e, latest
        WHERE e.run_id = $1 AND e.training_id IN (latest.sft, latest.pairs)
        AND (NOT e.used OR e.split != 'train') GROUP BY ALL
        UNION ALL
        SELECT 5, 'not in this training', (
            SELECT count(*) FROM verdicts v
            LEFT JOIN samples s ON s.run_id = v.run_id AND s.sample_id = v.subject_id
            LEFT JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
            WHERE v.run_id = $1 AND v.subject_kind = 'sample' AND v.verdict = 'accepted'
            AND i.split IS DISTINCT FROM 'test'
        ) - (SELECT count(*) FROM training_examples e WHERE e.run_id = $1 AND e.training_id = latest.sft)
        FROM latest WHERE latest.sft IS NOT NULL
        UNION ALL
        SELECT 10, 'not in this training', (
            SELECT count(*) FROM verdicts WHERE run_id = $1 AND subject_kind = 'pair' AND verdict = 'accepted'
        ) - (SELECT count(*) FROM training_examples e WHERE e.run_id = $1 AND e.training_id = latest.pairs)
        FROM latest WHERE latest.pairs IS NOT NULL
    ),
    ranked AS (
        SELECT *, row_number() OVER (PARTITION BY step ORDER BY n DESC, reason) AS place FROM reasons WHERE n > 0
    )
    SELECT step, CASE WHEN place <= 5 THEN reason ELSE 'other reasons' END AS reason, sum(n)::BIGINT AS n
    FROM ranked GROUP BY ALL ORDER BY step, min(place)
"""


def acceptance(doc: Document) -> None:
    """By whom the samples were accepted, and what is known of their quality, as every face says it."""
    found = doc.queries.ask("By whom samples were accepted, and the audits of the critics", _ACCEPTANCE)
    row = found.row
    settings = {"critics": json.loads(row["critics"] or "{}")}
    good = good_of(json.loads(row["audits"] or "[]"), {"run_id": doc.queries.run_id, "settings": settings})
    read = readings(json.loads(row["read"] or "[]"))
    told = headline(json.loads(row["by_basis"] or "{}"), of_samples(good), read)
    doc.say("**Accepted:** {told:text}.", found, {"told": told.told})
    sample = of_samples(good) or {}
    labelled = doc.queries.ask(
        "The share of good ones among labelled items that the critic accepts",
        "SELECT (detail->>'$.accepted.taken')::INT AS taken, (detail->>'$.accepted.precision')::DOUBLE AS precision, "
        "1 - (detail->>'$.accepted.precision')::DOUBLE AS bad FROM audits WHERE run_id = $1 "
        "AND subject_kind = 'sample' AND part = $2 AND (detail->>'$.accepted.natural')::BOOLEAN "
        "AND (detail->>'$.accepted.taken')::INT > 0 ORDER BY may_filter DESC, critic LIMIT 1",
        sample.get("part"),
    )
    if labelled:
        doc.say(
            "The share of good ones is not of this run's data: it is of {taken:count} other items, which language "
            "models labelled and which this critic accepts. As far as the training data are like them, "
            "{precision:share} of what was accepted is good and {bad:share} is not.",
            labelled,
        )


def flow(doc: Document) -> None:
    """Counts at every step with what was left out, as a figure and as tables."""
    doc.section("Data flow")
    steps = doc.queries.ask("Rows at each step", _FLOW)
    exclusions = doc.queries.ask("What was left out after each step, by its first reason", _EXCLUSIONS)
    if not any(row["n"] for row in steps.rows):
        doc.say("No instruction was written in this run. It has {n:count} candidates.", steps)
        return
    doc.say(
        "From what the model wrote to what was trained on, in the form of a CONSORT diagram (Schulz et al. 2010). "
        "Instructions and answers are counted apart; preference pairs are made from accepted answers. In this report "
        "a candidate instruction is a line that the model wrote; a sample is an accepted instruction with its first "
        "answer; a candidate of a pair is a further answer to such an instruction; a pair is a chosen and a rejected "
        "answer to one instruction; a revision is an answer rewritten by a principle."
    )
    doc.figure(figures.flow(steps, exclusions), steps, "rows at each step, and what was left out beside it.")
    doc.table("Rows at each step.", steps, [col("step", "count"), col("what", "text", "name"), col("n", "count")])
    doc.table(
        "Left out after each step, by the first reason.",
        exclusions,
        [col("after step", "count", "step"), col("reason", "words"), col("n", "count")],
        "Nothing was left out at any step.",
    )


def constitution(doc: Document) -> None:
    """Version, hash, and the principles with how often each was used; their text where it is the same file."""
    doc.section("Constitution")
    found = doc.queries.ask(
        "The constitution of the run",
        "SELECT manifest->>'$.constitution.version' AS version, manifest->>'$.constitution.sha256' AS sha256, "
        "json_array_length(manifest, '$.constitution.principles') AS principles FROM runs "
        "WHERE run_id = $1 AND (manifest->>'$.constitution.sha256') IS NOT NULL",
    )
    if not found:
        doc.say("No constitution was used in this run.", found)
        return
    doc.say("Version {version:text} with {principles:count} principles; SHA-256 {sha256:code}.", found)
    doc.listed(
        "Principles and how often each led to a revision that was kept",
        BY_PRINCIPLE,
        "Principles used in revisions.",
        [col("principle", "code", "principle_id"), col("drawn", "count"), col("kept", "count")],
        "No revision was written by a principle in this run.",
    )
    try:
        now = load_constitution()
    except SpecError:
        now = None
    if now is None or now.sha256 != found.row["sha256"]:
        doc.say("The text of that version is not at hand: the file here has another hash, so it is not shown.")
        return
    doc.say("The principles in the words of the file with that hash:")
    doc.text("\n".join(f"{p.id} ({p.category}): {p.text}" for p in now.principles), limit=20_000)


def guard(doc: Document) -> None:
    """The contamination guard's checks."""
    doc.section("Contamination guard")
    doc.listed(
        "Checks of the contamination guard",
        "SELECT condition, check_id, passed, detail, "
        "regexp_replace(regexp_replace(answer, '^\\s+', ''), '^(.{120}).+$', '\\1…', 's') AS wrote "
        "FROM guard_checks WHERE run_id = $1 ORDER BY "
        "list_position(['encoding', 'raw', 'formatted', 'aggregate'], condition) NULLS LAST, check_id",
        "Checks of the guard.",
        [col("condition", "words"), col("check", "code", "check_id"), col("outcome", "passed", "passed"),
         col("prompt, or what was seen", "text", "detail"), col("what the model wrote first", "text", "wrote")],
        "The guard was not run: nothing is known of contamination.",
        about="Whether a chat template or earlier tuning shows in what is meant to be a base model. A check without an "
        "outcome is recorded and decides nothing.",
    )  # fmt: skip
    rule = doc.queries.ask(
        "By which shares the guard passes",
        "SELECT (settings->>'$.guard.max_eos_rate')::DOUBLE AS ended, "
        "(settings->>'$.guard.max_empty_rate')::DOUBLE AS empty, "
        "(settings->>'$.guard.min_known_answers')::DOUBLE AS known FROM runs WHERE run_id = $1 "
        "AND (settings->'$.guard') IS NOT NULL AND EXISTS (FROM guard_checks WHERE run_id = $1)",
    )
    for row in rule.rows:
        doc.say(
            "Of single answers none passes or fails: they are judged together. Asked raw, they pass where at most "
            "{ended:share} end by themselves, at most {empty:share} are empty, and at most {empty:share} say the same "
            "few words over and over. Answers to a prompt with examples are recorded only, because a base model "
            "follows many of those. At least {known:share} of known sentences must go on sensibly. An encoding passes "
            "where it has no token of a chat format and the declared BOS once.",
            rule,
            row,
        )


def provenance(doc: Document) -> None:
    """Who wrote and who labelled the texts that ship with the program, as engine/data/README.md records it."""
    found = doc.queries.ask(
        "Labelled items shipped with the program, by what they are of",
        "SELECT subject_kind, sum(n)::BIGINT AS n FROM (SELECT subject_kind, max(n_good + n_bad) AS n FROM audits "
        f"WHERE run_id = $1 AND part IN {AUDITED} GROUP BY subject_kind, part) GROUP BY ALL ORDER BY ALL",
    )
    if not found:
        return
    doc.table(
        "Labelled items shipped with the program that the critics were audited on.",
        found,
        [col("of", "words", "subject_kind"), col("n", "count")],
    )
    doc.say(
        "Language models read and labelled these items, one reader a row; a person labelled none of them, and how far "
        "two readers agree is not known. Planted defects, seed instructions and few-shot texts were written by a "
        "language model too, and so were the tricky answers that audit the scorer. Who wrote the constitution is not "
        "recorded. These texts are input that did not come from the model under test."
    )


def audits(doc: Document) -> None:
    """What each critic told apart on items with known labels, each kind of audit in a table of its own."""
    doc.section("Audits of the critics")
    parts = doc.queries.ask("Audits of the critics by part", _PARTS)
    if not parts:
        doc.say("No critic was audited in this run.", parts)
        return
    doc.say(
        "Critics decide by log-probabilities of labels or by hidden states. Before one may filter, it has to tell "
        "known good items from known bad ones; where none can, rules alone accept and its margins are only kept. "
        "Figures of labelled sets, of fresh candidates and of a person's labels stand apart: they are of other items."
    )
    audited = ", ".join(f"'{part}'" for part in AUDITED)
    for title, among, absent in (
        ("Cross-validated audits on labelled sets", f"IN {CROSS_VALIDATED}", "on labelled sets"),
        ("Audits on fresh candidates, read blind", f"IN ('{FRESH[0]}')", "on fresh candidates"),
        ("Audits on a person's labels", f"NOT IN ({audited})", "on a person's labels"),
    ):
        doc.listed(
            title,
            _AUDITS.format(among=among),
            f"{title}: area under the ROC curve with bootstrap intervals, and what accepting as the run does gives.",
            [col("critic", "code"), col("of", "words", "subject_kind"), col("part", "words"),
             col("good", "count", "n_good"), col("bad", "count", "n_bad"), col("AUC", "decimals", "auc"),
             col("95 % interval", "interval", "auc_lo", "auc_hi"), col("calibration error", "decimals"),
             col("accepted", "count", "taken"), col("good among accepted", "share", "precision"),
             col("its 95 % interval", "shares", "lo", "hi"), col("threshold", "decimals"),
             col("scale", "yes", "has_scale"), col("may filter", "yes", "may_filter")],
            f"No critic was audited {absent} in this run.",
        )  # fmt: skip
    provenance(doc)


def gates(doc: Document) -> None:
    """The quality gates' checks: measured, threshold, n."""
    doc.section("Quality gates")
    doc.listed(
        "Checks of the quality gates",
        f"SELECT gate, check_name, measured, lo, hi, n, op, threshold, {RESULT_SQL} AS result, "
        "len(subject_ids) AS counted_against FROM gates WHERE run_id = $1 AND gate NOT IN ('guard', 'gap') ORDER BY "
        "list_position(['pilot', 'pilot pairs', 'final', 'final pairs'], gate) NULLS LAST, gate, check_name",
        "What was measured and what was asked for.",
        [col("gate", "words"), col("check", "words", "check_name"), *MEASURED,
         col("rows against", "count", "counted_against"), col("outcome", "result", "result")],
        "No quality gate was decided in this run.",
    )  # fmt: skip
