"""Threats to validity, each from a fact of the run with its figure."""

from __future__ import annotations

from engine.report.document import Document
from engine.report.evaluation import compared_with_registration

FEW_ITEMS = 30  # of a type, below which its own interval says little
FEW_TEMPLATES = 10


def threats(doc: Document) -> None:
    """One point for each threat that holds, and what was not measured."""
    doc.section("Threats to validity")
    doc.say(
        "Found by queries over the run's rows; a threat that is not listed here was looked for and not found, or "
        "cannot be seen in rows."
    )
    doc.points([*_data(doc), *_evaluation(doc), *_measurement(doc)])


def _data(doc: Document) -> list[str]:
    found = []
    source = doc.queries.ask(
        "Who wrote the data and who judged it",
        """
        WITH mine AS (SELECT session_id FROM sessions WHERE run_id = $1)
        SELECT r.model, coalesce(json_type(manifest, '$.adapter') = 'OBJECT', false) AS adapter,
               (SELECT count(*) FROM samples WHERE run_id = $1) AS samples,
               (SELECT count(*) FROM scores WHERE session_id IN (FROM mine)) AS scores,
               (SELECT count(*) FROM scores s WHERE s.session_id IN (FROM mine) AND s.fingerprint = r.fingerprint)
                   AS own_scores,
               (SELECT count(*) FROM runs o WHERE o.spec_sha256 = r.spec_sha256 AND o.model = r.model
                AND o.run_id != r.run_id AND o.overrides = r.overrides AND o.seed != r.seed) AS other_seeds
        FROM runs r WHERE r.run_id = $1
        """,
    )
    row = source.row
    if row["samples"] and not row["adapter"]:
        found.append(
            doc.told(
                "Data by the base model: {samples:count} responses were written by {model:code} itself, without "
                "an adapter of an earlier stage; training can only bring out what it can already write.",
                source,
            )
        )
    if row["own_scores"]:
        found.append(
            doc.told(
                "The same model judges: {own_scores:count} of {scores:count} label scores are by the weights "
                "that also wrote the data, so that errors they share go unseen.",
                source,
            )
        )
    gates = doc.queries.ask(
        "Failed checks of the quality gates",
        "SELECT count(*) AS checks, count(*) FILTER (NOT passed) AS failed FROM gates WHERE run_id = $1 "
        "AND gate NOT IN ('guard', 'gap')",
    )
    if gates.row["failed"]:
        found.append(
            doc.told(
                "Quality gates: {failed:count} of {checks:count} checks failed, of the pilot or of the final gate.",
                gates,
            )
        )
    audits = doc.queries.ask(
        "Critics that may filter, by what they judge",
        "SELECT subject_kind, count(DISTINCT critic) AS critics, "
        "count(DISTINCT critic) FILTER (may_filter) AS may_filter FROM audits WHERE run_id = $1 GROUP BY 1 ORDER BY 1",
    )
    if not audits:
        found.append(doc.told("No critic was audited: acceptance rests on rules.", audits))
    found += [
        doc.told(
            "No audited critic of {subject_kind:words}: {may_filter:count} of {critics:count} passed, so rules "
            "alone decide there.",
            audits,
            one,
        )
        for one in audits.rows
        if not one["may_filter"]
    ]
    found.append(
        doc.told(
            "One seed: runs of the same spec, model and settings under another seed in this store: "
            "{other_seeds:count}. The spread between seeds is not in any interval of this report.",
            source,
        )
    )
    return found


def _evaluation(doc: Document) -> list[str]:
    found = []
    items = doc.queries.ask(
        "Size and make of the test set",
        """
        WITH asked AS (
            SELECT DISTINCT i.* FROM evaluation_items i JOIN evaluation_answers a
            ON a.items_sha256 = i.items_sha256 AND a.item_id = i.item_id WHERE a.run_id = $1 AND i.split = 'test'
        ),
        types AS (SELECT item_type, count(*) AS n FROM asked GROUP BY 1)
        SELECT (SELECT count(*) FROM asked) AS items, (SELECT count(*) FROM types) AS types,
               (SELECT count(*) FROM types WHERE n < $2) AS small_types, (SELECT min(n) FROM types) AS smallest,
               $2 AS few, (SELECT count(DISTINCT template) FROM asked) AS templates,
               (SELECT count(*) FROM asked WHERE json_array_length(history) > 0) AS scripted
        """,
        FEW_ITEMS,
    )
    row = items.row
    if not row["items"]:
        return [
            doc.told("Nothing was evaluated: {items:count} test items were answered, so no effect is measured.", items)
        ]
    if row["small_types"]:
        found.append(
            doc.told(
                "Few items of a type: {small_types:count} of {types:count} types have fewer than {few:count} test "
                "items, the smallest {smallest:count}; differences by type are rough.",
                items,
            )
        )
    found.append(
        doc.told(
            "Made items: {items:count} test items come from {templates:count} templates; how far they stand for "
            "what people ask is not measured.",
            items,
        )
    )
    if row["scripted"]:
        found.append(
            doc.told(
                "Scripted histories: {scripted:count} of {items:count} test items show earlier turns that no "
                "model under test wrote.",
                items,
            )
        )
    results = doc.queries.ask(
        "Registered and exploratory results",
        "SELECT count(*) AS results, count(*) FILTER (NOT registered) AS exploratory, "
        "(SELECT count(*) FROM registrations WHERE run_id = $1) AS registrations, "
        "(SELECT max(look) FROM evaluation_looks WHERE run_id = $1) AS looks, "
        "min(power) FILTER (role = 'primary') AS power, (SELECT max((body->>'$.power')::DOUBLE) FROM registrations "
        "WHERE run_id = $1) AS power_wanted FROM evaluation_results WHERE run_id = $1",
    )
    row = results.row
    if not row["registrations"]:
        found.append(
            doc.told(
                "No registration ({registrations:count}): hypotheses may have been chosen after the results.", results
            )
        )
    elif row["exploratory"]:
        found.append(doc.told("{exploratory:count} of {results:count} results are exploratory.", results))
    if (row["looks"] or 0) > 1:
        found.append(
            doc.told("{looks:count} looks were taken at the same comparison; each has its own level.", results)
        )
    if row["power"] is not None and row["power_wanted"] is not None and row["power"] < row["power_wanted"]:
        found.append(
            doc.told(
                "Low power: {power:share} for the registered effect where {power_wanted:share} was "
                "wanted; no difference found is weak evidence of none.",
                results,
            )
        )
    done = compared_with_registration(doc)
    if any(one["differs"] for one in done.rows):
        found.append(
            doc.told("What was done differs from what was registered; see the design of the evaluation.", done)
        )
    gap = doc.queries.ask(
        "Outcome of the gap gate",
        "SELECT count(*) AS checks, count(*) FILTER (NOT passed) AS failed FROM gates WHERE run_id = $1 AND gate = "
        "'gap'",
    )
    if not gap.row["checks"]:
        found.append(
            doc.told(
                "The gap gate was not decided ({checks:count} checks): that the base could not do this "
                "already is not shown.",
                gap,
            )
        )
    elif gap.row["failed"]:
        found.append(
            doc.told(
                "The gap gate failed {failed:count} of {checks:count} checks: there may have been little to train.", gap
            )
        )
    return found


def _measurement(doc: Document) -> list[str]:
    found = []
    flips = doc.queries.ask(
        "Verdicts that hang on what should not matter",
        "SELECT count(*) AS answers, count(*) FILTER (padded != correct) AS padding, "
        "count(*) FILTER (strict != loose) AS strictness, "
        "(SELECT count(*) FROM scorer_audits WHERE run_id = $1 AND passed IS FALSE) AS failed, "
        "(SELECT count(*) FROM scorer_audits WHERE run_id = $1 AND part = 'person') AS person "
        "FROM evaluation_answers WHERE run_id = $1",
    )
    row = flips.row
    if row["padding"]:
        found.append(
            doc.told(
                "Scorer flips: {padding:count} of {answers:count} verdicts change when a sentence that "
                "says nothing is added.",
                flips,
            )
        )
    if row["strictness"]:
        found.append(
            doc.told(
                "Rule of the scorer: {strictness:count} of {answers:count} verdicts differ between the "
                "stricter and the looser rule.",
                flips,
            )
        )
    if row["failed"]:
        found.append(doc.told("The scorer failed {failed:count} checks of its audit.", flips))
    if row["answers"] and not row["person"]:
        found.append(
            doc.told("No person has checked verdicts of the scorer ({person:count} rows of agreement).", flips)
        )
    repeats = doc.queries.ask(
        "Repeats that differ",
        "SELECT count(*) AS n, count(*) FILTER (NOT same_text) AS texts, count(*) FILTER (NOT same_verdict) AS "
        "verdicts FROM evaluation_repeats WHERE run_id = $1",
    )
    row = repeats.row
    if not row["n"]:
        if flips.row["answers"]:
            found.append(
                doc.told("Repetition of the evaluation was not measured ({n:count} answers asked again).", repeats)
            )
    elif row["texts"]:
        found.append(
            doc.told(
                "Repeats differ: of {n:count} answers asked again {texts:count} texts and "
                "{verdicts:count} verdicts were others.",
                repeats,
            )
        )
    return found
