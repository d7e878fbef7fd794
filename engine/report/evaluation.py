"""How the models were compared: items, conditions, registration, the scorer's audit, the gap gate."""

from __future__ import annotations

from engine.evaluation import CONDITIONS, CONTROL_CONDITIONS, IN_CONTEXT, REFERENCE
from engine.evaluation.conditions import IN_WORDS
from engine.report.document import MEASURED, Document, col
from engine.report.query import QueryResult
from engine.report.training import course_table
from store.names import READERS
from store.outcomes import FAILING_SQL, NOT_TESTED, READ_BY_TWO, RESULT_SQL

NO_TUNED = "No tuned model was evaluated"
_ANSWERED = "(SELECT DISTINCT items_sha256 FROM evaluation_answers WHERE run_id = $1)"


def conditions_asked(doc: Document) -> QueryResult:
    """The conditions that have answers, base first."""
    return doc.queries.ask(
        "Conditions and how they were asked",
        f"""
        SELECT a.condition, count(*) AS answers, count(*) FILTER (i.split = 'test') AS test_answers,
               string_agg(DISTINCT a.fingerprint, ', ') AS fingerprints,
               string_agg(DISTINCT c.decoding::VARCHAR, ' or ') AS decoding,
               bool_or(a.condition IN ('sft', 'dpo')) AS tuned
        FROM evaluation_answers a
        LEFT JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id
        LEFT JOIN completions c ON c.request_id = a.request_id
        WHERE a.run_id = $1 GROUP BY a.condition
        ORDER BY list_position({list(CONDITIONS)}, a.condition)
                 NULLS LAST, a.condition
        """,
    )


def design(doc: Document) -> None:
    """Items by type and split, their hashes, the conditions in words, and what was registered."""
    doc.section("Design of the evaluation")
    asked = conditions_asked(doc)
    if not asked:
        doc.say("No evaluation was made in this run: no item was answered under any condition.", asked)
    else:
        if not any(row["tuned"] for row in asked.rows):
            doc.say(f"{NO_TUNED}: only the conditions below were asked.", asked)
        _items(doc)
        _conditions(doc, asked)
    _registration(doc)


def _items(doc: Document) -> None:
    doc.listed(
        "Hashes of the item set and of the code that verified the answers",
        "SELECT DISTINCT items_sha256, scorer_sha256 FROM evaluation_answers WHERE run_id = $1 ORDER BY ALL",
        "The frozen item set and the scorer.",
        [col("SHA-256 of the items", "code", "items_sha256"), col("SHA-256 of the scorer", "code", "scorer_sha256")],
    )
    doc.say(
        "Items are made by seeded templates and verified by code. The development split serves the gap gate alone; "
        "claims are made on the test split."
    )
    doc.listed(
        "Items that were asked, by type and split",
        f"""
        SELECT i.capability, i.item_type, count(*) FILTER (i.split = 'dev') AS dev,
               count(*) FILTER (i.split = 'test') AS test, count(DISTINCT i.template) AS templates
        FROM evaluation_items i WHERE i.items_sha256 IN {_ANSWERED}
        AND EXISTS (FROM evaluation_answers a WHERE a.run_id = $1 AND a.items_sha256 = i.items_sha256
                    AND a.item_id = i.item_id)
        GROUP BY ALL ORDER BY ALL
        """,
        "Items by type.",
        [col("capability", "words"), col("type", "words", "item_type"), col("development", "count", "dev"),
         col("test", "count"), col("templates", "count")],
    )  # fmt: skip


def _conditions(doc: Document, asked: QueryResult) -> None:
    doc.table(
        "Conditions.",
        asked,
        [col("condition", "words"), col("answers", "count"), col("of test items", "count", "test_answers"),
         col("fingerprint of the weights", "code", "fingerprints"), col("decoding", "code")],
    )  # fmt: skip
    told = [f"{row['condition'].replace('_', ' ')}: {IN_WORDS[row['condition']]}." for row in asked.rows
            if row["condition"] in IN_WORDS]  # fmt: skip
    if told:
        doc.say("In words:")
        doc.points([doc.told(text) for text in told])
    shown = doc.queries.ask(
        "Accepted examples that the base was shown",
        f"SELECT (manifest->>'$.{IN_CONTEXT}.shown')::BIGINT AS shown, "
        f"(manifest->>'$.{IN_CONTEXT}.of')::BIGINT AS all_of_them FROM runs WHERE run_id = $1 "
        f"AND (manifest->'$.{IN_CONTEXT}') IS NOT NULL",
    )
    if shown:
        doc.say(
            "The control in context: the base was shown {shown:count} of {all_of_them:count} accepted examples.", shown
        )


def registered(doc: Document) -> QueryResult:
    """The newest registration and how many there are."""
    return doc.queries.ask(
        "The registration",
        "SELECT registration_id, sha256, \"at\", body->>'$.statement' AS statement, body->>'$.test' AS test, "
        "body->>'$.alternative' AS alternative, body->>'$.correction' AS correction, body->>'$.family' AS family, "
        "(body->>'$.alpha')::DOUBLE AS alpha, (body->>'$.power')::DOUBLE AS power, body->>'$.looks' AS looks, "
        "body->>'$.stop_rule' AS stop_rule, (body->>'$.margin')::DOUBLE AS margin, "
        "(body->>'$.forecast.power')::DOUBLE AS forecast_power, "
        "(body->>'$.forecast.detectable')::DOUBLE AS forecast_detectable, "
        "json_exists(body, '$.forecast.detectable') AS sought, "
        "(body->>'$.forecast.level')::DOUBLE AS forecast_level, body->>'$.unit' AS unit, "
        "(body->>'$.forecast.n')::BIGINT AS forecast_n, (body->>'$.forecast.clusters')::BIGINT AS forecast_clusters, "
        "(body->>'$.forecast.n_needed')::BIGINT AS n_needed, "
        "(body->>'$.forecast.clusters_needed')::BIGINT AS clusters_needed, "
        "(body->>'$.forecast.icc')::DOUBLE AS icc, (body->>'$.likeness.prior')::DOUBLE AS icc_prior, "
        "(body->>'$.likeness.pilot')::DOUBLE AS icc_pilot, "
        "(body->>'$.forecast.design_effect')::DOUBLE AS design_effect, "
        "(body->>'$.forecast.independent.n_needed')::BIGINT AS n_independent, "
        "(SELECT count(*) FROM registrations WHERE run_id = $1) AS registrations, "
        '(SELECT min(a."at") FROM evaluation_answers a JOIN evaluation_items i USING (items_sha256, item_id) '
        "WHERE a.run_id = $1 AND a.condition IN ('sft', 'dpo') AND i.split = 'test') AS first_tuned_answer, "
        "(SELECT count(*) FROM evaluation_answers a JOIN evaluation_items i USING (items_sha256, item_id) "
        "WHERE a.run_id = $1 AND i.split = 'test' AND a.condition LIKE 'base%' "
        'AND a."at" < r."at") AS base_before, '
        "(SELECT count(*) FROM evaluation_answers a JOIN evaluation_items i USING (items_sha256, item_id) "
        "WHERE a.run_id = $1 AND i.split = 'test' AND a.condition LIKE 'base%') AS base_answers "
        'FROM registrations r WHERE run_id = $1 ORDER BY "at" DESC, registration_id DESC LIMIT 1',
    )


def compared_with_registration(doc: Document) -> QueryResult:
    """What was registered beside what was done: {what, registered, used, differs}, a row each.

    Controls that were not registered, and the reference, are described in any case and no deviation.
    """
    return doc.queries.ask(
        "What was registered and what was done",
        f"""
        WITH r AS (
            SELECT body FROM registrations WHERE run_id = $1 ORDER BY "at" DESC, registration_id DESC LIMIT 1
        ),
        answers AS (
            SELECT a.*, i.capability, i.split, c.decoding FROM evaluation_answers a
            LEFT JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id
            LEFT JOIN completions c ON c.request_id = a.request_id WHERE a.run_id = $1
        ),
        own AS (SELECT * FROM answers WHERE condition != 'reference'),
        results AS (SELECT * FROM evaluation_results WHERE run_id = $1),
        told AS (
            SELECT 1 AS place, 'items' AS what, body->>'$.items_sha256' AS registered,
                   (SELECT string_agg(DISTINCT items_sha256, ', ') FROM answers) AS used FROM r
            UNION ALL
            SELECT 2, 'scorer', body->>'$.scorer_sha256',
                   (SELECT string_agg(DISTINCT scorer_sha256, ', ') FROM answers) FROM r
            UNION ALL
            SELECT 3, 'conditions',
                   (SELECT string_agg(value->>'$', ', ' ORDER BY value->>'$') FROM json_each(r.body, '$.conditions')),
                   (SELECT string_agg(DISTINCT condition, ', ' ORDER BY condition) FROM answers
                    WHERE condition NOT IN {(*CONTROL_CONDITIONS, REFERENCE)}
                    OR list_contains(CAST(r.body->'$.conditions' AS VARCHAR[]), condition)) FROM r
            UNION ALL
            SELECT 4, 'test items of ' || j.key, j.value->>'$',
                   (SELECT count(DISTINCT item_id) FROM answers WHERE split = 'test' AND capability = j.key)::VARCHAR
            FROM r, json_each(r.body, '$.n') j
            UNION ALL
            SELECT 5, 'decoding, ' || j.key, coalesce(j.value->>'$', 'none'),
                   (SELECT string_agg(DISTINCT coalesce(decoding->>('$.' || j.key), 'none'), ' or ') FROM own
                    WHERE decoding IS NOT NULL)
            FROM r, json_each(r.body, '$.decoding') j
            UNION ALL
            SELECT 6, 'test', body->>'$.test',
                   (SELECT string_agg(DISTINCT test, ', ') FROM results WHERE role = 'primary') FROM r
            UNION ALL
            SELECT 7, 'margin of no regression', ((body->>'$.margin')::DOUBLE)::VARCHAR,
                   (SELECT string_agg(DISTINCT margin::VARCHAR, ', ') FROM results) FROM r
        )
        SELECT what, registered, used, used IS NOT NULL AND registered IS DISTINCT FROM used AS differs
        FROM told WHERE registered IS NOT NULL ORDER BY place, what
        """,
    )


def _registration(doc: Document) -> None:
    doc.part("Registration")
    found = registered(doc)
    if not found:
        doc.say("Nothing was registered before the results existed: every comparison is exploratory.", found)
        return
    doc.say("Registered on {at:time}, SHA-256 {sha256:code}.", found)
    answered = found.row["first_tuned_answer"] is not None
    side = "after" if answered and found.row["first_tuned_answer"] > found.row["at"] else "before"
    doc.say_each(found, [
        (not answered, "No tuned model has answered a test item."),
        (answered,
         f"The first answer of a tuned model to a test item came on {{first_tuned_answer:time}}, {side} "
         "the registration."),
        (found.row["base_before"],
         "Of {base_answers:count} answers of the base to test items {base_before:count} came before the registration: "
         "whoever registered could know how the base does on them, though not how a tuned model does."),
        (found.row["base_answers"] and not found.row["base_before"],
         "None of the {base_answers:count} answers of the base to test items came before the registration."),
        (found.row["registrations"] > 1,
         "This is the newest of {registrations:count} registrations; the older ones stay in the store."),
        (True,
         "The hypothesis: {statement:whole} Test: {test:text}, {alternative:text}, alpha {alpha:figure}. Family: "
         "{family:whole}. Correction: {correction:whole}."),
        (found.row["looks"], "Looks: {looks:whole}"),
        (found.row["stop_rule"], "Stop rule: {stop_rule:whole}"),
        (True,
         "Forecast: power {forecast_power:share} for the expected effect, asked for {power:share}. A loss of less "
         "than {margin:share} is no regression."),
        (found.row["forecast_detectable"] is not None,
         "The smallest difference that it shows with the power asked for is {forecast_detectable:points} percentage "
         "points."),
        (found.row["forecast_detectable"] is None and found.row["sought"],
         "No difference is large enough for these items to show it with the power of {power:share} asked for."),
        (not found.row["sought"], "The smallest difference that these items can show was not computed."),
        (found.row["unit"] is not None, "{unit:whole}"),
        (found.row["forecast_clusters"] is not None,
         "The forecast is of {forecast_n:count} items in {forecast_clusters:count} templates at the level of "
         "{forecast_level:figure} that the look at all items has, with a likeness of items of one template of "
         "{icc:decimals}, a design effect of {design_effect:decimals}. The likeness assumed beforehand was "
         "{icc_prior:decimals}."),
        (found.row["icc_pilot"] is not None, "As measured on the base conditions it is {icc_pilot:decimals}."),
        (found.row["forecast_clusters"] is not None and found.row["icc_pilot"] is None,
         "It was not measured on the base conditions before the registration."),
        (found.row["n_needed"] is not None,
         "The power asked for needs {n_needed:count} items of {clusters_needed:count} "
         "such templates; {n_independent:count} items if they were independent, by McNemar's test."),
    ])  # fmt: skip
    course_table(doc)
    doc.listed(
        "The registered hypotheses",
        """
        WITH r AS (
            SELECT body FROM registrations WHERE run_id = $1 ORDER BY "at" DESC, registration_id DESC LIMIT 1
        )
        SELECT j.value->>'$.role' AS role, j.value->>'$.capability' AS capability, j.value->>'$.before' AS before,
               j.value->>'$.after' AS after, j.value->>'$.item_type' AS item_type
        FROM r, json_each(r.body, '$.hypotheses') j ORDER BY j.key::INTEGER
        """,
        "Hypotheses.",
        [col("role", "words"), col("capability", "words"), col("before", "words"), col("after", "words"),
         col("type", "words", "item_type")],
        "The registration lists no hypotheses.",
    )  # fmt: skip
    done = compared_with_registration(doc)
    doc.table(
        "What was registered and what was done; a difference is a deviation.",
        done,
        [col("what", "words"), col("registered", "code"), col("done", "code", "used"), col("differs", "yes")],
    )


def scorer_outcome(doc: Document) -> QueryResult:
    """How many checks of the scorer's audit decide and failed, and how many are a person's."""
    return doc.queries.ask(
        "Outcome of the scorer's audit",
        "SELECT count(*) FILTER (passed IS NOT NULL) AS deciding, count(*) FILTER (passed IS FALSE) AS failed, "
        "count(*) FILTER (part = 'person') AS person FROM scorer_audits WHERE run_id = $1",
    )


def readers(doc: Document) -> QueryResult:
    """Who judged answers blind, and how far they agree: a row for each capability that the claim may be about."""
    return doc.queries.ask(
        "Who read verdicts of the scorer",
        f"""
        SELECT r.capability, coalesce(len(json_keys(a.detail, '$.readers')), 0) AS readers, coalesce(a.n, 0) AS n,
               array_to_string(json_keys(a.detail, '$.readers'), ', ') AS names, a.detail->>'$.statistic' AS statistic,
               a.measured, a.lo, a.hi, $2 AS least, coalesce(p.n, 0) AS by_person
        FROM (SELECT DISTINCT capability FROM evaluation_results WHERE run_id = $1 AND role = 'primary') r
        LEFT JOIN scorer_audits a ON a.run_id = $1 AND a.capability = r.capability AND a.part = '{READERS}'
        LEFT JOIN scorer_audits p ON p.run_id = $1 AND p.capability = r.capability AND p.part = 'person'
        ORDER BY r.capability
        """,
        READ_BY_TWO,
    )


def unread(doc: Document) -> list[str]:
    """Why the scorer can carry no claim as far as persons have read its verdicts."""
    found = readers(doc)
    told = []
    for row in found.rows:
        few = row["readers"] > 1 and row["n"] < row["least"]
        for holds, text in (
            (not row["readers"],
             "not read: {readers:count} persons have judged verdicts of the scorer, and a claim needs two who did."),
            (row["readers"] == 1,
             "not read by two: {names:text} alone ({readers:count} person) has judged verdicts of the scorer."),
            (few,
             "not read by two: {n:count} answers were judged by two persons, {least:count} are wanted."),
        ):  # fmt: skip
            told += [doc.told(text, found, row)] if holds else []
    return told


def gap_outcome(doc: Document) -> QueryResult:
    """How many checks the gap gate made, and how many failed."""
    return doc.queries.ask(
        "Outcome of the gap gate",
        f"SELECT count(*) AS checks, count(*) FILTER ({RESULT_SQL} IN {FAILING_SQL}) AS failed, "
        f"count(*) FILTER ({RESULT_SQL} = '{NOT_TESTED}') AS untested FROM gates WHERE run_id = $1 AND gate = 'gap'",
    )


def scorer_audit(doc: Document) -> None:
    """The scorer's audit by part."""
    doc.section("Audit of the scorer")
    found = doc.queries.ask(
        "Audit of the scorer",
        "SELECT capability, part, subject, measured, lo, hi, n, nullif(op, '') AS op, threshold, passed "
        "FROM scorer_audits WHERE run_id = $1 ORDER BY capability, list_position(['planted', 'length', 'padding', "
        "'trimming', 'strictness', 'format', 'person', 'readers', 'undecided', 'false accepts', 'false rejects', "
        "'abstains'], part) NULLS LAST, subject = 'all' DESC, subject",
    )
    if not found:
        doc.say("The scorer was not audited in this run: none of its verdicts may carry a claim.", found)
        return
    doc.say(
        "Before a p value counts, the code that verifies answers is tested: on planted answers whose verdict is known, "
        "against length and format as confounds, with the last sentence cut off, with an empty sentence added, and "
        "against a person where one has read, and on tricky answers by writers who had not seen it (false "
        "accepts, false "
        "rejects, abstains). Where it abstains an answer is undecided until a person has read it: it counts in "
        "no share "
        "and in no comparison, and a claim needs few of them. A row that asks for nothing is recorded and "
        "decides nothing."
    )
    decided = scorer_outcome(doc)
    doc.say("{failed:count} of {deciding:count} deciding checks failed.", decided)
    if not decided.row["person"]:
        doc.say("Not read: agreement of the scorer with a person was not measured.", decided)
    read = readers(doc)
    for row in read.rows:
        if row["readers"] and row["measured"] is not None:
            doc.say(
                "{readers:count} persons ({names:text}) judged answers blind, not knowing whose they are or what the "
                "scorer said. On the {n:count} that two of them called right or wrong, {statistic:text} between them "
                "is {measured:decimals} {lo,hi:interval}. Where readers differ, no person's word counts.",
                read,
                row,
            )
    doc.table(
        "Checks of the scorer.",
        found,
        [col("capability", "words"), col("part", "words"), col("of", "words", "subject"), *MEASURED,
         col("outcome", "passed", "passed")],
    )  # fmt: skip


def gap(doc: Document) -> None:
    """Whether there was something to train."""
    doc.section("Gap gate")
    doc.listed(
        "Checks of the gap gate",
        f"SELECT check_name, measured, lo, hi, n, op, threshold, {RESULT_SQL} AS result, decided_at, "
        "least(decided_at, (SELECT min(\"at\") FROM events WHERE run_id = $1 AND kind = 'GateDecided' "
        "AND (payload->>'$.gate') = 'gap')) AS first_decided FROM gates "
        "WHERE run_id = $1 AND gate = 'gap' AND ends_with(check_name, '_right') ORDER BY check_name",
        "Checks of the gap gate: shares of development items right.",
        [col("check", "words", "check_name"), col("measured", "share"), col("95 % interval", "shares", "lo", "hi"),
         col("development items", "count", "n"), col("asked for", "against_share", "op", "threshold"),
         col("outcome", "result", "result"), col("decided first", "time", "first_decided"),
         col("decided last", "time", "decided_at")],
        "The gap gate was not decided in this run.",
        about="Decided on the development items: can the base already do what is to be trained, and can it be done at "
        "all?",
    )  # fmt: skip
    tested = doc.queries.ask(
        "Tests of the gap gate",
        f"SELECT check_name, measured, n, op, threshold, {RESULT_SQL} AS result, decided_at FROM gates "
        "WHERE run_id = $1 AND gate = 'gap' AND NOT ends_with(check_name, '_right') ORDER BY check_name",
    )
    if tested:
        doc.table(
            "Tests of the gap gate: whether the reference is better than the base on the same development items.",
            tested,
            [col("check", "words", "check_name"), col("p", "p", "measured"), col("development items", "count", "n"),
             col("asked for", "against", "op", "threshold"), col("outcome", "result", "result"),
             col("decided", "time", "decided_at")],
        )  # fmt: skip
