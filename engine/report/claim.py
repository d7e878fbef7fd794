"""The question and the claim: one sentence where a registered result carries it, else why there is none."""

from __future__ import annotations

from engine.report.document import Document
from engine.report.evaluation import (
    NO_TUNED,
    compared_with_registration,
    conditions_asked,
    gap_outcome,
    registered,
    scorer_outcome,
    unread,
)
from engine.report.query import QueryResult
from engine.report.seeds import against_claim, in_claim
from store.outcomes import SHOWN_SQL

# What stands in the claim behind p: of results that an earlier version decided by items, the p of templates.
BESIDE = {"clusters": ", with templates as clusters p = {clustered_p:p}", "none": ""}


def question(doc: Document) -> None:
    """What was asked, and what may be said."""
    doc.section("Question and claim")
    wanted = registered(doc)
    if wanted and wanted.row["statement"]:
        doc.say("The question, as registered: {statement:whole}", wanted)
    else:
        doc.say(
            "Does a base model that was trained on data which it wrote and judged itself answer held-out items better "
            "than before? No hypothesis was registered in this run."
        )
    primary = doc.queries.ask(
        "The registered primary result",
        "SELECT *, before_right / n::DOUBLE AS before_share, after_right / n::DOUBLE AS after_share, "
        f"{SHOWN_SQL} AS shown, test LIKE 'McNemar%' AS by_items FROM evaluation_results "
        "WHERE run_id = $1 AND role = 'primary' AND registered ORDER BY capability, before, after, item_type",
    )
    reasons = _reasons(doc)
    if not primary:
        reasons.insert(0, _no_primary(doc))
    reasons += [
        doc.told(
            "{test:text} takes items of one template for independent and shows the difference (p = {p:p}); with "
            "templates as clusters p = {clustered_p:p} is not within the level of {alpha:figure}.",
            primary,
            row,
        )
        for row in primary.rows
        if row["by_items"] and row["p_corrected"] <= row["alpha"] and not row["shown"]
    ]
    if reasons:
        doc.say("**No claim is made:**")
        doc.points([*reasons, *(_against(doc, primary) if primary else [])])
        for row in primary.rows:
            doc.say(
                "What the registered primary comparison measured, without a claim: on {n:count} test items of "
                "{capability:words} {before:words} had {before_share:share} right and {after:words} "
                "{after_share:share}, a difference of {difference:points} points {lo,hi:points_interval} (95 % "
                "interval), p = {p:p} at a level of {alpha:figure}, power {power:share} for the registered effect.",
                primary,
                row,
            )
        _strongest(doc)
        return
    for row in primary.rows:
        if not row["shown"]:
            outcome = "the registered test shows no difference at its level of {alpha:figure}"
        else:
            outcome = "an improvement" if row["difference"] > 0 else "a loss"
            outcome += " at the registered level of {alpha:figure}"
        told = "clusters" if row["by_items"] else "none"
        doc.say(
            "**Claim.** On {n:count} held-out items of {capability:words} (test split), made by {clusters:count} "
            "templates, {after:words} had {after_share:share} right and {before:words} {before_share:share}: "
            "a difference of {difference:points} percentage points {lo,hi:points_interval} "
            "({interval_method:text}, 95 % interval; "
            f"{{test:text}}, p = {{p:p}}{BESIDE[told]}; {{effect_name:text}} = {{effect:decimals}}), {outcome}.",
            primary,
            row,
        )
        if not row["by_items"]:
            doc.say(
                "It is a claim about templates to come of these item types, which are taken as fixed. As descriptions, "
                "were items independent: McNemar's exact p = {mcnemar_p:p}, Newcombe's interval "
                "{newcombe_lo,newcombe_hi:points_interval}. Sign flips of whole templates: p = {flip_p:p}.",
                primary,
                row,
            )
    _strongest(doc)
    in_claim(doc)
    done = compared_with_registration(doc)
    differing = [row for row in done.rows if row["differs"]]
    if differing:
        doc.say("What was done differs from what was registered; both are listed with the design of the evaluation.")
        doc.points(
            [doc.told("{what:words}: {used:code} instead of {registered:code}.", done, row) for row in differing]
        )


def _strongest(doc: Document) -> None:
    """The base condition with the most right beside the tuned one of the primary comparison."""
    best = doc.queries.ask(
        "The strongest baseline of the primary comparison",
        """
        WITH base AS (
            SELECT i.capability, a.condition, avg(a.correct::INT) AS share FROM evaluation_answers a
            JOIN evaluation_items i USING (items_sha256, item_id)
            WHERE a.run_id = $1 AND i.split = 'test' AND a.condition LIKE 'base%' GROUP BY ALL
        )
        SELECT r.capability, r.after, r.after_right / r.n::DOUBLE AS after_share, base.condition, base.share
        FROM evaluation_results r JOIN base USING (capability)
        WHERE r.run_id = $1 AND r.role = 'primary' AND r.registered
        QUALIFY row_number() OVER (PARTITION BY r.capability, r.before, r.after
                                   ORDER BY base.share DESC, base.condition) = 1 ORDER BY ALL
        """,
    )
    for row in best.rows:
        doc.say(
            "The strongest baseline on the same items is {condition:words} with {share:share} right; {after:words} has "
            "{after_share:share}.",
            best,
            row,
        )


def _against(doc: Document, primary: QueryResult) -> list[str]:
    """What else stands against a claim of the primary comparison, where there is none already."""
    found = []
    for row in primary.rows:
        if not row["shown"]:
            told = "the registered test shows no difference: p = {p_corrected:p} at a level of {alpha:figure}."
            found.append(doc.told(told, primary, row))
    registration = registered(doc)
    wanted = registration.row.get("power")
    for row in primary.rows:
        if row["power"] is not None and wanted is not None and row["power"] < wanted:
            told = "the test had a power of {power:share} for the registered effect, less than was asked for."
            found += [doc.told(told, primary, row), *fewer_items(doc)]
    found += doc.holding(registration, [
        (registration.row.get("base_before"),
         "{base_before:count} of {base_answers:count} test answers of the base were known before the registration."),
    ])  # fmt: skip
    return found


def fewer_items(doc: Document) -> list[str]:
    """That fewer items of a type were asked for than the spec says, which lowers the power."""
    fewer = doc.queries.ask(
        "Items asked for of a type, where they are fewer than the spec's",
        "SELECT j.key AS setting, coalesce(j.value->>'$[0]', 'null') AS was, (j.value->>'$[1]')::BIGINT AS used FROM "
        "runs, json_each(runs.overrides) j WHERE run_id = $1 AND j.key = 'evaluation.items_per_type' "
        "AND coalesce((j.value->>'$[1]')::BIGINT < (j.value->>'$[0]')::BIGINT, (j.value->>'$[1]') IS NOT NULL)",
    )
    told = "{setting:code} was changed from {was:code} to {used:code}: fewer items lower the power."
    return [doc.told(told, fewer, row) for row in fewer.rows]


def _no_primary(doc: Document) -> str:
    asked = conditions_asked(doc)
    if not asked:
        return doc.told("no evaluation was made in this run.", asked)
    if not any(row["tuned"] for row in asked.rows):
        return doc.told(f"{NO_TUNED[0].lower()}{NO_TUNED[1:]}.", asked)
    few = doc.queries.ask(
        "The registered primary comparison where too few templates answered",
        "SELECT r.n, r.clusters FROM evaluation_results r, (SELECT unnest(CAST(body->'$.hypotheses' AS JSON[])) AS one "
        'FROM (SELECT body FROM registrations WHERE run_id = $1 ORDER BY "at" DESC LIMIT 1)) WHERE r.run_id = $1 '
        "AND r.role = 'descriptive' AND one->>'$.role' = 'primary' AND one->>'$.capability' = r.capability "
        "AND one->>'$.before' = r.before AND one->>'$.after' = r.after AND one->>'$.item_type' = r.item_type",
    )
    if few:
        return doc.told(
            "of the registered primary comparison too few templates answered to test it ({clusters:count} templates, "
            "{n:count} items).",
            few,
            few.row,
        )
    results = doc.queries.ask(
        "Results by role",
        "SELECT count(*) AS results, count(*) FILTER (registered) AS registered FROM evaluation_results "
        "WHERE run_id = $1",
    )
    return doc.told(
        "of {results:count} results {registered:count} are registered, and none of those is primary.", results
    )


def _reasons(doc: Document) -> list[str]:
    """What stands against any claim."""
    guard = doc.queries.ask(
        "Outcome of the guard",
        "SELECT count(*) AS checks, count(*) FILTER (passed IS FALSE) AS failed FROM guard_checks WHERE run_id = $1",
    )
    found = doc.holding(guard, [
        (not guard.row["checks"], "the contamination guard was not run ({checks:count} checks)."),
        (guard.row["failed"], "the contamination guard failed {failed:count} of {checks:count} checks."),
    ])  # fmt: skip
    audit = scorer_outcome(doc)
    found += doc.holding(audit, [
        (not audit.row["deciding"], "the scorer was not audited ({deciding:count} deciding checks)."),
        (audit.row["failed"], "the scorer failed {failed:count} of {deciding:count} deciding checks of its audit."),
    ])  # fmt: skip
    found += unread(doc)
    found += against_claim(doc)
    gap = gap_outcome(doc)
    found += doc.holding(gap, [
        (not gap.row["checks"], "the gap gate was not decided ({checks:count} checks)."),
        (gap.row["failed"],
         "the gap gate failed {failed:count} of {checks:count} checks: that there was something to train, and "
         "that it can be done, is not shown."),
        (gap.row["untested"], "the gap gate could not test {untested:count} of {checks:count} checks."),
    ])  # fmt: skip
    approved = doc.queries.ask(
        "Whether the claim was reviewed",
        "SELECT coalesce(list_contains(CAST(json_extract(settings, '$.review.ask') AS VARCHAR[]), 'claim'), false) AS "
        "asked, (SELECT count(*) FROM decisions d WHERE d.run_id = $1 AND d.topic = 'claim' AND d.answer = 'proceed' "
        "AND d.decided_by != 'policy') AS approvals FROM runs WHERE run_id = $1",
    )
    waits = approved.row["asked"] and not approved.row["approvals"]
    told = "the spec has a claim reviewed before it is made, and nobody approved of this one ({approvals:count})."
    return found + doc.holding(approved, [(waits, told)])
