"""What came out: shares by condition, differences with all that a reviewer asks for, and what repeating changed."""

from __future__ import annotations

import re

from engine.evaluation import CONDITIONS
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.report import figures
from engine.report.document import Document, col
from engine.report.evaluation import NO_TUNED, conditions_asked, registered
from engine.report.query import QueryResult
from engine.stats.shares import wilson_columns

_RESULT = [
    col("role", "words"), col("test items", "count", "n"), col("right before", "share", "before_share"),
    col("right after", "share", "after_share"), col("gained", "count"), col("lost", "count"),
    col("difference, points", "points", "difference"), col("95 % interval", "points_interval", "told_lo", "told_hi"),
    col("interval by", "text", "interval_by"), col("p", "p"),
    col("corrected p", "p", "p_corrected"), col("q", "p"), col("Cohen's h", "decimals", "effect"),
]  # fmt: skip
_CHECKS = [
    col("templates", "count", "clusters"), col("likeness in a template", "decimals", "icc"),
    col("design effect", "decimals", "design_effect"), col("degrees of freedom", "figure", "df"),
    col("p by sign flips of templates", "p", "flip_p"), col("level", "figure", "alpha"), col("power", "share"),
    col("smallest difference shown, points", "points", "detectable"), col("margin", "share"),
    col("p of no regression", "p", "p_not_worse"), col("registered", "yes"),
]  # fmt: skip
_BY_ITEMS = [
    col("McNemar's exact p", "p", "mcnemar_p"), col("its chi-square p", "p", "p_chi2"),
    col("Newcombe's interval", "points_interval", "newcombe_lo", "newcombe_hi"),
    col("BCa interval", "points_interval", "bca_lo", "bca_hi"),
]  # fmt: skip
_OLDER = [
    col("clustered interval", "points_interval", "clustered_lo", "clustered_hi"),
    col("clustered p", "p", "clustered_p"),
]  # fmt: skip
_COMPARISON = [col("capability", "words"), col("before", "words"), col("after", "words")]
_TELLING = f"coalesce(clusters >= {ENOUGH_CLUSTERS}, true) AND lo >= -1 AND hi <= 1"
_COLUMNS = (
    "*, before_right / n::DOUBLE AS before_share, after_right / n::DOUBLE AS after_share, "
    "list_position(['primary', 'secondary', 'exploratory', 'descriptive'], role) AS rank, "
    # A difference of shares lies between -1 and 1: an interval beyond, or of too few templates, tells nothing.
    f"CASE WHEN {_TELLING} THEN lo END AS told_lo, CASE WHEN {_TELLING} THEN hi END AS told_hi, "
    f"CASE WHEN {_TELLING} THEN CASE WHEN interval_method LIKE 't with%' THEN 'CR2 t' "
    "ELSE split_part(interval_method, ' ', 1) END END AS interval_by"
)


def shown_comparison(doc: Document) -> QueryResult:
    """The one comparison that is shown by type: the primary one, else base in the training format to the last tuned."""
    return doc.queries.ask(
        "The comparison that is shown by type",
        "SELECT capability, before, after, role, n FROM evaluation_results WHERE run_id = $1 AND item_type = 'all' "
        "AND after IN ('sft', 'dpo') ORDER BY role = 'primary' DESC, before = 'base_formatted' DESC, "
        "before LIKE 'base%' DESC, after = 'dpo' DESC, capability = 'instruction_following' DESC, before LIMIT 1",
    )


def results(doc: Document) -> None:
    """Shares by condition, differences by comparison and by type, looks."""
    doc.section("Results")
    k, n = "count(*) FILTER (a.correct)", "count(a.correct)"
    shares = doc.queries.ask(
        "Share of test items right, by condition",
        f"""
        SELECT i.capability, a.condition, {n} AS n, {k} AS "right", {k} / nullif({n}, 0)::DOUBLE AS share,
               {wilson_columns(k, n, "lo", "hi")}, count(*) - {n} AS undecided,
               avg(a.strict::INT) AS strict, avg(a.loose::INT) AS loose, avg(a.trimmed::INT) AS trimmed,
               avg(a.padded::INT) AS padded, avg(a.n_tokens) AS tokens, avg((a.stop_reason = 'length')::INT) AS cut_off
        FROM evaluation_answers a
        JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id
        WHERE a.run_id = $1 AND i.split = 'test' GROUP BY i.capability, a.condition
        ORDER BY i.capability DESC, list_position({list(CONDITIONS)}, a.condition) NULLS LAST, a.condition
        """,
    )
    if not shares:
        doc.say("Not measured in this run: no test item was answered.", shares)
        return
    doc.figure(
        figures.conditions(shares), shares, "share of test items right by condition, with Wilson 95 % intervals."
    )
    doc.table(
        "Share of test items right by condition.",
        shares,
        [*_COMPARISON[:1], col("condition", "words"), col("test items", "count", "n"), col("right", "count"),
         col("share", "share"), col("95 % interval", "shares", "lo", "hi"), col("undecided", "count"),
         col("stricter rule", "share", "strict"), col("looser rule", "share", "loose"),
         col("last sentence cut", "share", "trimmed"), col("padded", "share"),
         col("mean tokens", "figure", "tokens"), col("ended by the limit", "share", "cut_off")],
    )  # fmt: skip
    whole = doc.queries.ask(
        "Comparisons over all types",
        f"SELECT {_COLUMNS} FROM evaluation_results WHERE run_id = $1 AND item_type = 'all' "
        "ORDER BY rank, capability, before, after",
    )
    if not whole:
        asked = conditions_asked(doc)
        tuned = any(row["tuned"] for row in asked.rows)
        told = "Answers are there, but no comparison was computed" if tuned else NO_TUNED
        doc.say(f"{told}: no difference is shown.", whole)
        return
    _compared(doc, whole)
    _by_type(doc)
    _looks(doc)


def cut_off(doc: Document) -> QueryResult:
    """The share of test answers that the token limit ended, by condition."""
    return doc.queries.ask(
        "Test answers that the token limit ended, by condition",
        "SELECT condition, count(*) AS n, avg((stop_reason = 'length')::INT) AS share FROM evaluation_answers a "
        "JOIN evaluation_items i USING (items_sha256, item_id) WHERE a.run_id = $1 AND i.split = 'test' "
        f"GROUP BY condition ORDER BY list_position({list(CONDITIONS)}, condition) NULLS LAST, condition",
    )


def _compared(doc: Document, whole: QueryResult) -> None:
    doc.say(
        "Differences are after minus before on the same items, in percentage points. Secondary comparisons are the "
        "family that was registered beside the primary one; all others are exploratory and carry no claim."
    )
    named = registered(doc)
    late = (
        bool(named)
        and named.row["first_tuned_answer"] is not None
        and named.row["first_tuned_answer"] < named.row["at"]
    )
    doc.say_each(named, [
        (named and not late, "The primary comparison was named before a tuned model had answered a test item."),
        (late, "The primary comparison was named after a tuned model had answered test items."),
        (named and named.row["base_before"],
         "It was named after the base had given {base_before:count} of its {base_answers:count} test answers."),
    ])  # fmt: skip
    doc.say("Method of the interval: {interval_method:text}; test: {test:text}; effect: {effect_name:text}.", whole)
    older = [row for row in whole.rows if str(row["test"]).startswith("McNemar")]
    if older:
        doc.say(
            "These results were decided by McNemar's test, which takes items of one template for independent; p with "
            "templates as clusters stands beside it. Evaluate again to have that one decide.",
        )
    else:
        doc.say(
            "Templates are the unit of inference: p and interval allow for items of one template being alike. Results "
            "of too few templates are descriptive, and so are controls that were not registered and the reference, "
            "which is a ceiling and carries no claim."
        )
    doc.say(
        "A dash in the place of an interval: too few templates, or a method that leaves the range of a difference. "
        "Corrected p: the secondary comparisons are tested only where the primary one is rejected (gatekeeping), so "
        "that theirs is never below the primary one's p, however small their own p is. q is over the primary and the "
        "secondary comparisons together, and over the exploratory ones apart."
    )
    narrower = any(
        row["told_lo"] is not None
        and row["newcombe_lo"] is not None
        and row["told_hi"] - row["told_lo"] < row["newcombe_hi"] - row["newcombe_lo"]
        for row in whole.rows
    )
    if narrower:
        doc.say(
            "Some clustered intervals are narrower than Newcombe's below: they are about templates to come "
            "of the same types. Where a type has few templates they rest on few, and may be too narrow."
        )
    doc.table("Comparisons over all types.", whole, [*_COMPARISON, *_RESULT])
    cut = cut_off(doc)
    told = "Cut off by the token limit: {share:share} of {n:count} test answers of {condition:words}."
    doc.points([doc.told(told, cut, row) for row in cut.rows])
    doc.table("How the items lie in templates, and what they can show.", whole, [*_COMPARISON, *_CHECKS])
    doc.table(
        "Descriptions that take items for independent; none of them decides.", whole,
        [*_COMPARISON, *(_OLDER if older else []), *_BY_ITEMS],
    )  # fmt: skip
    _scores(doc)
    doc.listed(
        "Corrections for the number of tests",
        "SELECT role, coalesce(nullif(correction, ''), 'none') AS correction, count(*) AS tests FROM "
        "evaluation_results WHERE run_id = $1 GROUP BY role, 2 ORDER BY list_position(['primary', 'secondary', "
        "'exploratory', 'descriptive'], role), 2",
        "How p values were corrected; q is the false discovery rate (Benjamini and Hochberg 1995), over the "
        "registered comparisons and over the exploratory ones apart.",
        [col("role", "words"), col("correction", "text"), col("tests", "count")],
    )


def _scores(doc: Document) -> None:
    doc.listed(
        "What answers differ by that is no yes or no",
        "SELECT * FROM evaluation_scores WHERE run_id = $1 ORDER BY capability DESC, before, after, measure",
        "Rules of the verifier met (a share of strict, counting and loose) and length in tokens, on the same items; "
        "where they were scored, log-probability of the reference answer (nats a token) and a local judge's margins.",
        [*_COMPARISON, col("measure", "words"), col("n", "count"), col("templates", "count", "clusters"),
         col("before mean", "decimals", "before_mean"), col("after mean", "decimals", "after_mean"),
         col("difference", "decimals"), col("95 % interval, clustered", "interval", "lo", "hi"),
         col("clustered p", "p", "p"),
         col("q", "p"), col("d_z", "decimals", "dz"), col("its interval", "interval", "dz_lo", "dz_hi"),
         col("p of paired t", "p", "t_p"), col("p of Wilcoxon", "p", "wilcoxon_p"),
         col("rank-biserial r", "decimals", "rank_biserial"), col("BCa interval", "interval", "bca_lo", "bca_hi")],
        "No scores were computed: the results are of an earlier version.",
        about="Beside right and wrong: whether a difference hangs on one rule of the verifiers, and whether answers "
              "became longer. The paired t test, Wilcoxon's and d_z take items for independent. "
              "q is over all of this table that has a clustered p. None is a claim.",
    )  # fmt: skip


def _by_type(doc: Document) -> None:
    shown = shown_comparison(doc)
    if not shown:
        return
    compared = shown.row["before"], shown.row["after"]
    capabilities = doc.queries.ask(
        "Capabilities with results by type",
        "SELECT DISTINCT capability FROM evaluation_results WHERE run_id = $1 AND before = $2 AND after = $3 "
        "AND item_type != 'all' ORDER BY capability DESC",
        *compared,
    )
    for row in capabilities.rows:
        capability = row["capability"]
        types = doc.queries.ask(
            "Differences by type",
            f"SELECT {_COLUMNS} FROM evaluation_results WHERE run_id = $1 AND capability = $2 AND before = $3 "
            "AND after = $4 ORDER BY item_type = 'all' DESC, item_type",
            capability,
            *compared,
        )
        doc.part("By type: {capability:words}, {before:words} to {after:words}", types)
        title = f"{capability}: {' to '.join(compared)}"
        name = "forest-" + re.sub("[^a-z0-9]+", "-", capability.lower())
        caption = (
            "differences by type with 95 % intervals; a square is the primary comparison, a filled dot a secondary "
            "one, a hollow dot exploratory or descriptive."
        )
        doc.figure(figures.forest(name, types, types.rows, title), types, caption)
        doc.table("Differences by type.", types, [col("type", "words", "item_type"), *_RESULT])
        doc.table("Templates by type.", types, [col("type", "words", "item_type"), *_CHECKS])
        doc.table("Descriptions that take items for independent, by type.", types,
                  [col("type", "words", "item_type"), *_BY_ITEMS])  # fmt: skip
    others = doc.queries.ask(
        "Differences of the other comparisons, by type",
        f"SELECT {_COLUMNS} FROM evaluation_results WHERE run_id = $1 AND item_type != 'all' "
        "AND NOT (before = $2 AND after = $3) ORDER BY capability DESC, before, after, item_type",
        *compared,
    )
    if others:
        doc.table("The other comparisons by type.", others, [*_COMPARISON, col("type", "words", "item_type"), *_RESULT])


def _looks(doc: Document) -> None:
    doc.part("Looks at the results")
    doc.say(
        "Alpha is spent over all looks, those at changed verdicts included: the levels add up to no more than the "
        "registered alpha. A level of zero says that nothing was left."
    )
    doc.listed(
        "Each time results were computed on test items",
        "SELECT * FROM evaluation_looks WHERE run_id = $1 ORDER BY capability, before, after, look",
        "Looks taken, and the level of each.",
        [*_COMPARISON, col("look", "count"), col("test items", "count", "n"),
         col("of those planned", "share", "fraction"), col("level", "p"), col("when", "time", "at")],
        "No look was recorded.",
    )  # fmt: skip


def nondeterminism(doc: Document) -> None:
    """What differed when it was computed again."""
    doc.section("Nondeterminism, as measured")
    same_text, same_verdict, n = "count(*) FILTER (r.same_text)", "count(*) FILTER (r.same_verdict)", "count(*)"
    doc.listed(
        "Evaluation answers asked again one at a time",
        f"""
        SELECT r.condition, {n} AS n, 1 - {same_text} / {n}::DOUBLE AS text_differs,
               {wilson_columns(f"({n} - {same_text})", n, "text_lo", "text_hi")},
               1 - {same_verdict} / {n}::DOUBLE AS verdict_differs,
               {wilson_columns(f"({n} - {same_verdict})", n, "verdict_lo", "verdict_hi")}
        FROM evaluation_repeats r WHERE r.run_id = $1 GROUP BY 1 ORDER BY 1
        """,
        "Answers of the evaluation asked again, one item at a time.",
        [col("condition", "words"), col("n", "count"), col("text differs", "share", "text_differs"),
         col("its 95 % interval", "shares", "text_lo", "text_hi"), col("verdict differs", "share", "verdict_differs"),
         col("interval of that", "shares", "verdict_lo", "verdict_hi")],
        "Not measured in this run: no answer of an evaluation was asked again.",
    )  # fmt: skip
    slice_of = doc.queries.ask(
        "A slice of the run computed again at its latest gate",
        """
        SELECT arg_max(value, "at") FILTER (name = 'repeat_texts') AS texts,
               arg_max(value, "at") FILTER (name = 'repeat_texts_differing') AS texts_differing,
               arg_max(value, "at") FILTER (name = 'repeat_scores') AS scores,
               arg_max(value, "at") FILTER (name = 'repeat_largest_difference_nats') AS nats
        FROM metrics WHERE run_id = $1 AND name LIKE 'repeat\\_%' ESCAPE '\\' HAVING count(*) > 0
        """,
    )
    if slice_of:
        doc.say(
            "At the latest gate {texts:count} responses and {scores:count} label scores were computed again alone: "
            "of the texts {texts_differing:count} differed, and the scores by {nats:figure} nats at most.",
            slice_of,
        )
    else:
        doc.say("Not measured in this run: no slice was computed again at a gate.", slice_of)
    doc.listed(
        "Replays of phases",
        "SELECT * EXCLUDE (detail), texts_same / nullif(texts, 0)::DOUBLE AS texts_share, "
        "verdicts_same / nullif(verdicts, 0)::DOUBLE AS verdicts_share "
        'FROM replays WHERE run_id = $1 ORDER BY "at", replay_id',
        "Phases that were replayed.",
        [col("phase", "words"), col("share replayed", "share", "fraction"), col("texts", "count"),
         col("texts the same", "share", "texts_share"), col("scores", "count"),
         col("largest difference, nats", "figure", "largest_difference_nats"), col("verdicts", "count"),
         col("verdicts the same", "share", "verdicts_share"), col("when", "time", "at")],
        "No phase of this run was replayed.",
    )  # fmt: skip


def examples(doc: Document) -> None:
    """For each type one item that became right and one that became wrong, chosen by a hash."""
    doc.section("Examples")
    shown = shown_comparison(doc)
    if not shown:
        doc.say("None: no comparison with a tuned model was computed in this run.", shown)
        return
    compared = shown.row["before"], shown.row["after"]
    found = doc.queries.ask(
        "One item of each type that became right and one that became wrong",
        """
        WITH changed AS (
            SELECT i.capability, i.item_type, i.item_id, i.history, i.prompt, b.answer AS before_answer,
                   b.why AS before_why, a.answer AS after_answer, a.why AS after_why, a.correct AS became_right,
                   row_number() OVER (PARTITION BY i.capability, i.item_type, a.correct
                                      ORDER BY md5($1 || i.item_id), i.item_id) AS place,
                   count(*) OVER (PARTITION BY i.capability, i.item_type, a.correct) AS such
            FROM evaluation_answers b
            JOIN evaluation_answers a ON a.run_id = b.run_id AND a.item_id = b.item_id
                AND a.items_sha256 = b.items_sha256
            JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id
            WHERE b.run_id = $1 AND b.condition = $2 AND a.condition = $3 AND i.split = 'test'
            AND a.correct != b.correct
        )
        SELECT * EXCLUDE (place) FROM changed WHERE place = 1 ORDER BY capability DESC, item_type, became_right DESC
        """,
        *compared,
    )
    if not found:
        doc.say("None: no item changed its outcome between the conditions compared.", found)
        return
    doc.say(
        "From {before:words} to {after:words}: of the items of a type whose outcome changed, the one with the "
        "smallest hash of run and item, so that nobody chose it. Control characters are shown as signs.",
        shown,
    )
    doc.table(
        "The examples below.",
        found,
        [col("capability", "words"), col("type", "words", "item_type"), col("became right", "yes", "became_right"),
         col("item", "code", "item_id"), col("such items", "count", "such")],
    )  # fmt: skip
    for row in found.rows:
        became = "became right" if row["became_right"] else "became wrong"
        doc.part("{item_type:words}, " + became + ": {item_id:code}", found, row)
        history = "" if row["history"] in (None, "[]") else f"Earlier turns: {row['history']}\n\n"
        doc.say("Prompt:")
        doc.text(history + row["prompt"], limit=2000)
        for name, when in zip(compared, ("before", "after"), strict=True):
            doc.say("Answer of {condition:words}, and what the verifier saw:", found, {"condition": name})
            doc.text(row[f"{when}_answer"] or "(empty)", limit=1500)
            doc.text(row[f"{when}_why"] or "(nothing)", limit=500)
