"""What the run cost, and how much of it a person did."""

from __future__ import annotations

from engine.report.document import Document, col
from engine.report.query import QueryResult
from store.names import AUDITED
from store.progress import GPU_BY_PHASE

SAME_SITTING_MINUTES = 5  # between two acts of a person that count as one stretch of work


def totals(doc: Document, price_per_hour: float | None) -> QueryResult:
    """Hours, tokens and what they cost, in one row; money is null where no price is known."""
    return doc.queries.ask(
        "Time, tokens and money",
        """
        WITH mine AS (SELECT session_id FROM sessions WHERE run_id = $1),
        result AS (
            SELECT difference, lo, hi FROM evaluation_results WHERE run_id = $1 AND item_type = 'all'
            AND after IN ('sft', 'dpo') ORDER BY role = 'primary' DESC, before = 'base_formatted' DESC,
            before LIKE 'base%' DESC, after = 'dpo' DESC, capability = 'instruction_following' DESC, before LIMIT 1
        ),
        found AS (
            SELECT r.elapsed_s / 3600 AS hours,
                   (SELECT sum(elapsed_s) / 3600 FROM trainings WHERE run_id = $1) AS training_hours,
                   $2::DOUBLE AS price,
                   (SELECT sum(micro_usd) / 1e6 FROM ledger WHERE run_id = $1) AS booked,
                   CASE WHEN (manifest->>'$.model.device') LIKE 'cuda%' OR EXISTS (
                       FROM trainings WHERE run_id = $1 AND lower(device) NOT IN ('', 'cpu')) THEN true ELSE false END
                       AS gpu,
                   coalesce(manifest->>'$.model.device', (SELECT max(device) FROM trainings WHERE run_id = $1))
                       AS device,
                   EXISTS (FROM metrics WHERE run_id = $1 AND name = 'gpu_measured_s') AS gpu_measured,
                   (SELECT coalesce(sum(n_tokens), 0) FROM completions WHERE session_id IN (FROM mine))::BIGINT
                       AS tokens,
                   (SELECT count(*) FROM completions WHERE session_id IN (FROM mine)) AS completions,
                   (SELECT count(*) FROM scores WHERE session_id IN (FROM mine)) AS scores,
                   (SELECT sum(value) FROM metrics WHERE run_id = $1 AND name = 'model_calls_reused') AS reused,
                   (SELECT count(*) FROM verdicts WHERE run_id = $1 AND subject_kind = 'sample'
                    AND verdict = 'accepted') AS accepted,
                   (SELECT CASE WHEN lo > 0 THEN 100 * difference END FROM result) AS gained_points,
                   (SELECT lo <= 0 AND hi >= 0 FROM result) AS includes_zero,
                   (SELECT count(*) FROM result) AS compared
            FROM runs r WHERE r.run_id = $1
        )
        SELECT *, coalesce(booked, hours * price) AS dollars,
               3600 * hours / nullif(accepted, 0) AS seconds_per_accepted,
               coalesce(booked, hours * price) / nullif(accepted, 0) AS dollars_per_accepted,
               hours / gained_points AS hours_per_point,
               coalesce(booked, hours * price) / gained_points AS dollars_per_point
        FROM found
        """,
        price_per_hour,
    )


def cost(doc: Document, price_per_hour: float | None) -> None:
    """Time by phase, tokens, money, and what an accepted example and a point of improvement cost."""
    doc.section("Cost")
    found = totals(doc, price_per_hour)
    row = found.row
    doc.say_each(found, [
        (True, "The run worked for {hours:hours} on its data, pauses excluded. Training and evaluation come on top."),
        (row["gpu"] and row["device"] is not None, "A GPU computed it: {device:words}."),
        (not row["gpu"] and row["device"] is not None,
         "No GPU was recorded for this run; what the ledger books as time of a GPU is time of {device:words}."),
        (not row["gpu"] and row["device"] is None, "No GPU was recorded for this run."),
        (True,
         "Its sessions computed {completions:count} completions with {tokens:count} generated tokens and "
         "{scores:count} label scores. Answers taken from earlier work instead of computed again: {reused:count}."),
    ])  # fmt: skip
    doc.listed(
        "Where the time of all sessions went",
        """
        WITH own AS (
            SELECT epoch(max(e."at")) - epoch(s.started_at) AS s FROM sessions s JOIN events e USING (session_id)
            WHERE s.run_id = $1 AND e.run_id = $1 GROUP BY s.session_id, s.started_at
        ),
        evaluations AS (
            SELECT max(epoch("at")) FILTER (kind = 'PhaseFinished') - min(epoch("at")) FILTER (kind = 'PhaseStarted')
                   AS s
            FROM events WHERE run_id = $1 AND (payload->>'$.phase') = 'evaluation' GROUP BY session_id
        ),
        parts AS (
            SELECT (SELECT sum(value) FROM metrics WHERE run_id = $1 AND name = 'elapsed_s') AS data,
                   (SELECT sum(elapsed_s) FROM trainings WHERE run_id = $1) AS training,
                   (SELECT sum(s) FROM evaluations) AS evaluation, (SELECT sum(s) FROM own) AS whole
        ),
        rest AS (
            SELECT *, whole - coalesce(data, 0) - coalesce(training, 0) - coalesce(evaluation, 0) AS other FROM parts
        )
        SELECT what, hours FROM (
            SELECT 1 AS place, 'phases of the data' AS what, data / 3600 AS hours FROM rest
            UNION ALL SELECT 2, 'training', training / 3600 FROM rest
            UNION ALL SELECT 3, 'evaluation', evaluation / 3600 FROM rest
            UNION ALL SELECT 4, 'in none of these: loading models, opening, closing',
                CASE WHEN other >= 0 THEN other / 3600 END FROM rest
            UNION ALL SELECT 5, 'all sessions, from begin to end', CASE WHEN other >= 0 THEN whole / 3600 END FROM rest
        ) ORDER BY place
        """,
        "Where the time went; the parts add up to the last row.",
        [col("part", "text", "what"), col("time", "hours", "hours")],
    )
    doc.listed(
        "Time by phase",
        "SELECT phase, sum(value) / 3600 AS hours, count(*) AS stretches FROM metrics WHERE run_id = $1 "
        "AND name = 'elapsed_s' GROUP BY 1 ORDER BY 2 DESC, 1",
        "Time by phase. Phases that went side by side share their time by the requests that each had with the model.",
        [col("phase", "words"), col("time", "hours", "hours"), col("stretches of work", "count", "stretches")],
        "Time by phase was not measured in this run.",
    )
    if row["gpu_measured"]:
        doc.listed(
            "How busy the GPUs were by phase",
            f"SELECT phase, measured_s / 3600 AS hours, idle_s / 3600 AS idle, busy_percent / 100 AS busy "
            f"FROM ({GPU_BY_PHASE})",
            "How busy the GPUs were by phase: the mean over all of them, looked at every two seconds. Idle is the time "
            "times the share of it in which nothing ran.",
            [col("phase", "words"), col("time", "hours", "hours"), col("idle", "hours", "idle"),
             col("busy", "share", "busy")],
        )  # fmt: skip
    if row["booked"] is not None:
        doc.say("Money: {dollars:dollars} by the ledger, what is reserved and not settled yet among it.", found)
        doc.listed(
            "The ledger by kind and phase",
            "SELECT kind, phase, state, unit, sum(quantity) AS quantity, sum(micro_usd) / 1e6 AS dollars FROM ledger "
            "WHERE run_id = $1 GROUP BY ALL ORDER BY ALL",
            "The ledger.",
            [col("kind", "words"), col("phase", "words"), col("state", "words"), col("quantity", "figure"),
             col("unit", "words"), col("cost", "dollars", "dollars")],
        )  # fmt: skip
    elif row["price"] is None:
        doc.say(
            "Money: not known, because nothing is in the ledger and there is no price set (price_per_gpu_hour).", found
        )
    else:
        doc.say("Money: {dollars:dollars} at {price:dollars} an hour.", found)
    if row["accepted"]:
        money = " or {dollars_per_accepted:dollars}" if row["dollars"] is not None else ""
        told = " The time is of making the data, what was rejected among it, without training and evaluation"
        told += "; the money is all that was booked." if row["booked"] is not None else "."
        doc.say("An accepted example took {seconds_per_accepted:figure} seconds" + money + "." + told, found)
    else:
        doc.say("No example was accepted ({accepted:count}), so none has a cost.", found)
    if not row["compared"]:
        doc.say("Cost of a point of improvement: none, because no tuned model was compared.", found)
    elif row["gained_points"] is None:
        why = "includes zero" if row["includes_zero"] else "lies below zero"
        doc.say(f"Cost of a point of improvement: none, because the interval of the difference {why}.", found)
    else:
        money = " or {dollars_per_point:dollars}" if row["dollars"] is not None else ""
        told = " of making the data; training and evaluation are not in that time."
        doc.say("A percentage point of improvement took {hours_per_point:hours}" + money + told, found)


def automation(doc: Document) -> None:
    """Who decided: rules, critics, a reviewer, a person; and how long a person took."""
    doc.section("Automation, as measured")
    doc.listed(
        "Decisions by who made them",
        "SELECT decided_by, count(*) AS n FROM decisions WHERE run_id = $1 GROUP BY 1 ORDER BY 1",
        "Decisions on the run by who made them.",
        [col("by", "words", "decided_by"), col("n", "count")],
        "No decision on this run was recorded; gates were decided by the spec's thresholds.",
    )
    reviews = doc.queries.ask(
        "Entries of reviews by kind and by who made them",
        "SELECT kind, who, count(*) AS n, count(*) FILTER (approval = 'yes') AS approving FROM review_entries "
        "WHERE run_id = $1 GROUP BY ALL ORDER BY ALL",
    )
    if reviews:
        doc.table("Entries of reviews by kind and who made them.", reviews,
                  [col("entry", "words", "kind"), col("by", "text", "who"), col("n", "count"),
                   col("approving", "count")])  # fmt: skip
    doc.listed(
        "Verdicts by what gave them",
        "SELECT subject_kind, basis, count(*) AS n, count(*) FILTER (verdict = 'accepted') AS accepted FROM verdicts "
        "WHERE run_id = $1 GROUP BY ALL ORDER BY ALL",
        "Verdicts on the data by what gave them; none of these is a person.",
        [col("of", "words", "subject_kind"), col("by", "words", "basis"), col("n", "count"), col("accepted", "count")],
        "No verdict was given in this run.",
    )
    person = doc.queries.ask(
        "What a person did, and at least how long it took",
        """
        WITH acts AS (
            SELECT "at" FROM person_labels WHERE run_id = $1
            UNION ALL SELECT "at" FROM decisions WHERE run_id = $1 AND decided_by = 'person'
        ),
        gaps AS (SELECT epoch("at") - epoch(lag("at") OVER (ORDER BY "at")) AS gap FROM acts)
        SELECT (SELECT count(*) FROM person_labels WHERE run_id = $1) AS labels,
               (SELECT count(*) FROM decisions WHERE run_id = $1 AND decided_by = 'person') AS decisions,
               (SELECT count(*) FROM decisions WHERE run_id = $1) AS all_decisions,
               $2 AS sitting,
               (SELECT sum(gap) / 60 FROM gaps WHERE gap <= 60 * $2) AS minutes
        """,
        SAME_SITTING_MINUTES,
    )
    row = person.row
    shipped = doc.queries.ask(
        "Labelled items shipped with the program",
        f"SELECT sum(n)::BIGINT AS n FROM (SELECT max(n_good + n_bad) AS n FROM audits WHERE run_id = $1 "
        f"AND part IN {AUDITED} GROUP BY subject_kind, part)",
    )
    if shipped.row["n"]:
        doc.say(
            "Labelled items shipped with the program: {n:count}, by language models; a person labelled none.", shipped
        )
    doc.say(
        "A person labelled {labels:count} items and made {decisions:count} of {all_decisions:count} decisions.", person
    )
    measured = row["minutes"] is not None
    doc.say_each(person, [
        (not measured, "A person's time was not measured: there are no two acts close enough to tell it from."),
        (measured,
         "A person's time was not measured directly. A lower bound is {minutes:figure} minutes: the time between acts "
         "that are at most {sitting:count} minutes apart, on the assumption that it was spent on the run; reading "
         "before the first act of a sitting is not in it."),
    ])  # fmt: skip
