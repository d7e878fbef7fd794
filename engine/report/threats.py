"""Threats to validity, each from a fact of the run with its figure."""

from __future__ import annotations

from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.report.claim import fewer_items
from engine.report.document import Document
from engine.report.evaluation import compared_with_registration, gap_outcome, registered
from engine.report.results import cut_off
from engine.report.training import leakage
from store.outcomes import FAILING_SQL, NOT_TESTED, RESULT_SQL

OFTEN_CUT = 0.03  # share of answers cut off by the limit above which it is told
FEW_ITEMS = 30  # of a type, below which its own interval says little


def threats(doc: Document) -> None:
    """One point for each threat that holds, and what was not measured."""
    doc.section("Threats to validity")
    doc.say(
        "Found by queries over the run's rows; a threat that is not listed here was looked for and not found, or "
        "cannot be seen in rows."
    )
    doc.points([*_data(doc), *_selection(doc), *_evaluation(doc), *_measurement(doc), *_not_run(doc)])


def _data(doc: Document) -> list[str]:
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
                AND o.run_id != r.run_id AND o.overrides = r.overrides AND o.seed != r.seed
                AND o.manifest->>'$.repeat_of' IS NULL) AS other_seeds,
               (SELECT max(seeds) FROM evaluation_seeds WHERE run_id = $1 AND lo IS NOT NULL) AS seeds
        FROM runs r WHERE r.run_id = $1
        """,
    )
    row = source.row
    found = doc.holding(source, [
        (row["samples"] and not row["adapter"],
         "Data by the base model: {samples:count} responses were written by {model:code} itself, without "
         "an adapter of an earlier stage; training can only bring out what it can already write."),
        (row["own_scores"],
         "The same model judges: {own_scores:count} of {scores:count} label scores are by the weights "
         "that also wrote the data, so that errors they share go unseen."),
    ])  # fmt: skip
    base = doc.queries.ask(
        "The model, and the checks of the contamination guard",
        "SELECT model, (SELECT count(*) FROM guard_checks WHERE run_id = $1) AS checks FROM runs WHERE run_id = $1",
    )
    found += doc.holding(base, [
        (True,
         "Contaminated base: whether texts like instructions with their answers were in the pretraining of "
         "{model:code} is not known. The guard ({checks:count} checks) finds chat templates and the habits of an "
         "assistant; it cannot find such texts. What training brings out may have been learnt from them."),
    ])  # fmt: skip
    gates = doc.queries.ask(
        "Failed checks of the quality gates",
        f"SELECT count(*) AS checks, count(*) FILTER ({RESULT_SQL} IN {FAILING_SQL}) AS failed, "
        f"count(*) FILTER ({RESULT_SQL} = '{NOT_TESTED}') AS untested FROM gates WHERE run_id = $1 "
        "AND gate NOT IN ('guard', 'gap')",
    )
    found += doc.holding(gates, [
        (gates.row["failed"],
         "Quality gates: {failed:count} of {checks:count} checks failed or found nothing, of the pilot or of the final "
         "gate."),
        (gates.row["untested"],
         "Quality gates: {untested:count} of {checks:count} checks were not tested, because they cannot fail, because "
         "too few items decide them, or because there was nothing to measure; none of them counts as passed."),
    ])  # fmt: skip
    audits = doc.queries.ask(
        "Critics that may filter, by what they judge",
        "SELECT subject_kind, count(DISTINCT critic) AS critics, "
        "count(DISTINCT critic) FILTER (may_filter) AS may_filter FROM audits WHERE run_id = $1 GROUP BY 1 ORDER BY 1",
    )
    found += doc.holding(audits, [(not audits, "No critic was audited: acceptance rests on rules.")])
    told = (
        "No audited critic of {subject_kind:words}: {may_filter:count} of {critics:count} passed, so rules alone "
        "decide there."
    )
    found += [doc.told(told, audits, one) for one in audits.rows if not one["may_filter"]]
    return found + doc.holding(source, [
        (not row["seeds"],
         "One seed: runs of the same spec, model and settings under another seed in this store: {other_seeds:count}. "
         "The spread between seeds is not in any interval of this report."),
        (row["seeds"],
         "One set of data: training was repeated, in all with {seeds:count} seeds, on data that were made once. How "
         "other data of the same spec would differ is in no interval of this report."),
    ])  # fmt: skip


def _selection(doc: Document) -> list[str]:
    """How the data were chosen: pairs by revision, changed settings, what was held out."""
    pairs = doc.queries.ask(
        "Kept pairs that come from revisions",
        "SELECT count(*) AS kept, count(*) FILTER (p.source = 'revision') AS revised, "
        "count(*) FILTER (p.source = 'best_of') AS chosen, "
        "count(*) FILTER (p.source IN ('hard_negative', 'boundary')) AS planted FROM pairs p JOIN verdicts v "
        "ON v.run_id = p.run_id AND v.subject_kind = 'pair' AND v.subject_id = p.pair_id AND v.verdict = 'accepted' "
        "WHERE p.run_id = $1",
    )
    found = doc.holding(pairs, [
        (pairs.row["kept"],
         "Revisions: {revised:count} of {kept:count} kept pairs come from a critique and revision, {chosen:count} from "
         "choosing among answers, {planted:count} from answers that were spoilt on purpose or prompts at the border of "
         "what should be refused. An effect is one of the whole selection."),
    ])  # fmt: skip
    found += _changed(doc)
    held = doc.queries.ask(
        "Rows that each training held out",
        "SELECT t.training_id, count(e.example_id) AS held FROM trainings t LEFT JOIN training_examples e "
        "ON e.run_id = t.run_id AND e.training_id = t.training_id AND e.split = 'heldout' AND e.used "
        "WHERE t.run_id = $1 GROUP BY ALL HAVING held < $2 ORDER BY 1",
        FEW_ITEMS,
    )
    told = "Held out: {training_id:code} measured its loss on {held:count} rows; how far it overfits is known roughly."
    none = "Held out: {training_id:code} kept {held:count} rows apart, so how far it overfits is not measured."
    found += [doc.told(told if one["held"] else none, held, one) for one in held.rows]
    return [*found, *leakage(doc), *_chosen(doc)]


def _chosen(doc: Document) -> list[str]:
    """What other runs there are, from which this one may have been chosen, and what it took from them."""
    runs = doc.queries.ask(
        "Runs of this store, and those of the same spec",
        """
        WITH others AS (SELECT o.* FROM runs o JOIN runs r ON r.run_id = $1 AND o.spec_sha256 = r.spec_sha256
                        WHERE o.run_id != $1),
        asked AS (
            SELECT request_id FROM instructions WHERE run_id = $1 UNION SELECT request_id FROM samples WHERE run_id = $1
            UNION SELECT request_id FROM candidates WHERE run_id = $1
            UNION SELECT request_id FROM evaluation_answers WHERE run_id = $1
        )
        SELECT (SELECT count(*) FROM runs) AS runs,
               (SELECT string_agg(told, ', ' ORDER BY told)
                FROM (SELECT state || ': ' || count(*) AS told FROM runs GROUP BY state)) AS states,
               (SELECT count(*) FROM others) AS same,
               (SELECT string_agg(run_id || ' (' || state || ')', ', ' ORDER BY run_id) FROM others) AS names,
               count(*) AS answers, count(*) FILTER (s.run_id != $1) AS reused,
               string_agg(DISTINCT s.run_id, ', ' ORDER BY s.run_id) FILTER (s.run_id != $1) AS owners
        FROM completions c LEFT JOIN sessions s USING (session_id) WHERE c.request_id IN (FROM asked)
        """,
    )
    return doc.holding(runs, [
        (True,
         "Choice among runs: runs in this store: {runs:count} ({states:whole}); others of the same spec: {same:count}. "
         "Runs of other stores, and deleted ones, are not seen."),
        (runs.row["same"],
         "Of the same spec are {names:whole}, {same:count} in all: this run may have been chosen among them."),
        (runs.row["reused"],
         "Reused answers: {reused:count} of {answers:count} answers of this run were generated in sessions of other "
         "runs: {owners:whole}. Two runs that share answers are not independent."),
    ])  # fmt: skip


def _changed(doc: Document) -> list[str]:
    """Every setting that differs from the spec, and how many of them have a reason in a decision."""
    changed = doc.queries.ask(
        "Settings that differ from the spec, and whether a decision that names them says why",
        """
        SELECT j.key AS setting,
               CASE WHEN json_type(j.value) = 'ARRAY' THEN coalesce(j.value->>'$[0]', 'null')
                    ELSE 'not recorded' END AS was,
               coalesce(CASE WHEN json_type(j.value) = 'ARRAY' THEN j.value->>'$[1]' ELSE j.value->>'$' END, 'null')
                   AS used,
               count(*) OVER () AS settings, count(*) FILTER (NOT EXISTS (
                   FROM decisions d WHERE d.run_id = $1 AND trim(d.reason) != ''
                   AND contains(d.question, j.key || ':'))) OVER () AS unexplained
        FROM runs, json_each(runs.overrides) j WHERE run_id = $1 ORDER BY 1
        """,
    )
    told = "Changed from the spec: {setting:code} from {was:code} to {used:code}."
    found = [doc.told(told, changed, row) for row in changed.rows]
    return found + doc.holding(changed, [
        (changed and changed.row["unexplained"],
         "Deviations without a reason: for {unexplained:count} of {settings:count} settings that differ from the spec "
         "no decision says why. They may have been chosen in sight of what came out."),
    ])  # fmt: skip


def _not_run(doc: Document) -> list[str]:
    """Controls and further measurements that the store has nothing of."""
    absent = doc.queries.ask(
        "Controls and measurements that were not run",
        """
        WITH c AS (SELECT DISTINCT condition FROM evaluation_answers WHERE run_id = $1),
        known(place, name, there) AS (
            SELECT 1, 'SFT on answers chosen at random (sft_random)', 'sft_random' IN (FROM c)
            UNION ALL SELECT 2, 'SFT on answers chosen by length (sft_length)', 'sft_length' IN (FROM c)
            UNION ALL SELECT 3, 'the base shown accepted examples (base_in_context)', 'base_in_context' IN (FROM c)
            UNION ALL SELECT 4, 'a reference model', 'reference' IN (FROM c)
            UNION ALL SELECT 5, 'repeats with other seeds',
                      EXISTS (FROM evaluation_seeds WHERE run_id = $1 AND seeds > 1)
            UNION ALL SELECT 6, 'a judge of answers in pairs', EXISTS (FROM judge_results WHERE run_id = $1)
            UNION ALL SELECT 7, 'benchmark suites', EXISTS (FROM suite_answers WHERE run_id = $1)
        )
        SELECT string_agg(name, '; ' ORDER BY place) AS names, count(*) AS n, 7 AS of FROM known WHERE NOT there
        """,
    )
    told = "Not run, {n:count} of {of:count}: {names:whole}. What they would have shown is not known."
    return doc.holding(absent, [(absent.row["n"], told)])


def _evaluation(doc: Document) -> list[str]:
    items = doc.queries.ask(
        "Size and make of the test set",
        """
        WITH asked AS (
            SELECT DISTINCT i.* FROM evaluation_items i JOIN evaluation_answers a
            ON a.items_sha256 = i.items_sha256 AND a.item_id = i.item_id WHERE a.run_id = $1 AND i.split = 'test'
        ),
        types AS (SELECT item_type, count(*) AS n, count(DISTINCT template) AS templates FROM asked GROUP BY 1)
        SELECT (SELECT count(*) FROM asked) AS items, (SELECT count(*) FROM types) AS types,
               (SELECT count(*) FROM types WHERE n < $2) AS small_types, (SELECT min(n) FROM types) AS smallest,
               $2 AS few, $3 AS enough,
               (SELECT count(*) FROM types WHERE templates < $3) AS few_templates,
               (SELECT count(DISTINCT template) FROM asked) AS templates,
               (SELECT count(*) FROM asked WHERE json_array_length(history) > 0) AS scripted
        """,
        FEW_ITEMS,
        ENOUGH_CLUSTERS,
    )
    row = items.row
    if not row["items"]:
        told = "Nothing was evaluated: {items:count} test items were answered, so no effect is measured."
        return [doc.told(told, items)]
    found = doc.holding(items, [
        (row["small_types"],
         "Few items of a type: {small_types:count} of {types:count} types have fewer than {few:count} test "
         "items, the smallest {smallest:count}; differences by type are rough."),
        (True,
         "Made items: {items:count} test items come from {templates:count} templates; how far they stand for "
         "what people ask is not measured. A claim is about templates to come of the same {types:count} types: other "
         "types may gain otherwise, which no interval here covers."),
        (row["few_templates"],
         "Few templates of a type: {few_templates:count} of {types:count} types have fewer than {enough:count}; their "
         "differences are described and not tested."),
        (row["scripted"],
         "Scripted histories: {scripted:count} of {items:count} test items show earlier turns that no "
         "model under test wrote."),
    ])  # fmt: skip
    results = doc.queries.ask(
        "Registered and exploratory results",
        "SELECT count(*) AS results, count(*) FILTER (role = 'exploratory') AS exploratory, "
        "count(*) FILTER (role = 'descriptive') AS descriptive, "
        "count(*) FILTER (test LIKE 'McNemar%') AS by_items, "
        "(SELECT count(*) FROM registrations WHERE run_id = $1) AS registrations, "
        "(SELECT max(look) FROM evaluation_looks WHERE run_id = $1) AS looks, "
        "min(power) FILTER (role = 'primary') AS power, (SELECT max((body->>'$.power')::DOUBLE) FROM registrations "
        "WHERE run_id = $1) AS power_wanted FROM evaluation_results WHERE run_id = $1",
    )
    row, wanted = results.row, results.row["power_wanted"]
    found += doc.holding(results, [
        (not row["registrations"],
         "No registration ({registrations:count}): hypotheses may have been chosen after the results."),
        (row["registrations"] and (row["exploratory"] or row["descriptive"]),
         "Of {results:count} results {exploratory:count} are exploratory and {descriptive:count} descriptive."),
        ((row["looks"] or 0) > 1,
         "{looks:count} looks were taken at the same comparison; each has its own level, and the levels add up to no "
         "more than alpha."),
        (row["by_items"],
         "{by_items:count} of {results:count} results were decided by a test that takes items of one template for "
         "independent, which rejects true hypotheses too often where effects vary over templates."),
        (row["power"] is not None and wanted is not None and row["power"] < wanted,
         "Low power: {power:share} for the registered effect where {power_wanted:share} was "
         "wanted; no difference found is weak evidence of none."),
    ])  # fmt: skip
    found += fewer_items(doc)
    named = registered(doc)
    found += doc.holding(named, [
        (named and named.row["base_before"],
         "Registered after the base had answered: {base_before:count} of {base_answers:count} test answers of the base "
         "were in the store by then, so that the choice of the comparison may have been made in sight of them."),
        (named and named.row["registrations"] > 1,
         "Registered more than once: the newest of {registrations:count} registrations counts."),
    ])  # fmt: skip
    seen = doc.queries.ask(
        "Trainings that began after a look at results on test items",
        'SELECT t.training_id, t.started_at, count(DISTINCT l."at") AS looks, '
        "string_agg(DISTINCT l.after, ', ' ORDER BY l.after) AS of FROM trainings t JOIN evaluation_looks l "
        'ON l.run_id = t.run_id AND l."at" < t.started_at WHERE t.run_id = $1 GROUP BY ALL ORDER BY t.started_at',
    )
    told = (
        "Trained after a look: {training_id:code} began on {started_at:time}. Looks at results of {of:words} on test "
        "items that came before: {looks:count}; its settings may have been chosen in sight of them."
    )
    found += [doc.told(told, seen, one) for one in seen.rows]
    done, differs = compared_with_registration(doc), "What was done differs from what was registered"
    found += doc.holding(
        done, [(any(one["differs"] for one in done.rows), f"{differs}; see the design of the evaluation.")]
    )
    gap = gap_outcome(doc)
    return found + doc.holding(gap, [
        (not gap.row["checks"],
         "The gap gate was not decided ({checks:count} checks): that the base could not do this already is not shown."),
        (gap.row["failed"],
         "The gap gate failed {failed:count} of {checks:count} checks: there may have been little to train."),
        (gap.row["untested"],
         "The gap gate could not test {untested:count} of {checks:count} checks: that there was something to train is "
         "not shown by them."),
    ])  # fmt: skip


def _measurement(doc: Document) -> list[str]:
    flips = doc.queries.ask(
        "Verdicts that hang on what should not matter",
        "SELECT count(*) AS answers, count(*) FILTER (padded != correct) AS padding, "
        "count(*) FILTER (strict != loose) AS strictness, "
        "(SELECT count(*) FROM scorer_audits WHERE run_id = $1 AND passed IS FALSE) AS failed, "
        "(SELECT count(*) FROM scorer_audits WHERE run_id = $1 AND part = 'person') AS person "
        "FROM evaluation_answers WHERE run_id = $1",
    )
    row = flips.row
    cut = cut_off(doc)
    told = (
        "Cut off: {share:share} of {n:count} test answers of {condition:words} were ended by the token limit; a "
        "difference may be one of ending in time."
    )
    ended = [doc.told(told, cut, one) for one in cut.rows if one["share"] > OFTEN_CUT]
    found = ended + doc.holding(flips, [
        (row["padding"],
         "Scorer flips: {padding:count} of {answers:count} verdicts change when a sentence that "
         "says nothing is added."),
        (row["strictness"],
         "Rule of the scorer: {strictness:count} of {answers:count} verdicts differ between the "
         "stricter and the looser rule."),
        (row["failed"], "The scorer failed {failed:count} checks of its audit."),
        (row["answers"] and not row["person"],
         "No person has checked verdicts of the scorer ({person:count} rows of agreement)."),
    ])  # fmt: skip
    found += _scorer_errors(doc) if row["answers"] else []
    repeats = doc.queries.ask(
        "Repeats that differ",
        "SELECT count(*) AS n, count(*) FILTER (NOT same_text) AS texts, count(*) FILTER (NOT same_verdict) AS "
        "verdicts FROM evaluation_repeats WHERE run_id = $1",
    )
    again = repeats.row
    return found + doc.holding(repeats, [
        (not again["n"] and row["answers"],
         "Repetition of the evaluation was not measured ({n:count} answers asked again)."),
        (again["n"] and again["texts"],
         "Repeats differ: of {n:count} answers asked again {texts:count} texts and "
         "{verdicts:count} verdicts were others."),
    ])  # fmt: skip


def _scorer_errors(doc: Document) -> list[str]:
    """That no difference allows for the scorer's errors, with their measured rates beside."""
    errors = doc.queries.ask(
        "Errors of the scorer on tricky answers",
        """
        WITH whole AS (
            SELECT * FROM scorer_audits WHERE run_id = $1 AND subject = 'all'
            AND part IN ('false accepts', 'false rejects', 'abstains')
        )
        SELECT capability, max(measured) FILTER (part = 'false accepts') AS accepts,
               max(n) FILTER (part = 'false accepts') AS wrong,
               max(measured) FILTER (part = 'false rejects') AS rejects,
               max(n) FILTER (part = 'false rejects') AS "right",
               max(measured) FILTER (part = 'abstains') AS abstains, max(n) FILTER (part = 'abstains') AS answers
        FROM whole GROUP BY 1 ORDER BY 1
        """,
    )
    told = (
        "Errors of the scorer: of tricky answers for {capability:words} it called {accepts:share} of {wrong:count} "
        "wrong ones right, {rejects:share} of {right:count} right ones wrong, and abstained on {abstains:share} of "
        "{answers:count}. No difference in this report is corrected for these rates. How often it errs on the answers "
        "of each condition is not known, so that a difference may be one of its errors."
    )
    none = (
        "Errors of the scorer: its false accepts, false rejects and abstains were not measured, and no difference is "
        "corrected for them."
    )
    return [doc.told(told, errors, row) for row in errors.rows] or [doc.told(none, errors)]
