"""Benchmarks that others know, where a run was asked some."""

from __future__ import annotations

from engine.report.document import Document, col

_COMPARED = [
    col("suite", "words"), col("task", "code"), col("metric", "code"), col("before", "words"), col("after", "words"),
]  # fmt: skip
_ORDER = "suite, NOT whole, task, metric, before, after"


def suites(doc: Document) -> None:
    """How suites were asked, what each condition has, and differences; nothing where none was asked."""
    asked = doc.queries.ask(
        "Suites that were asked, and how",
        """
        SELECT suite, task, version, harness, shots, condition, count(*) AS items, count(DISTINCT cluster) AS clusters,
               string_agg(DISTINCT fingerprint, ', ') AS fingerprints, max("at") AS "at"
        FROM suite_answers WHERE run_id = $1 GROUP BY ALL ORDER BY suite, task, condition
        """,
    )
    if not asked:
        return
    doc.section("Benchmarks")
    doc.say(
        "Suites of the lm-evaluation-harness, which says what is asked and how an answer is scored. Base raw goes on "
        "with the text as it stands; base formatted, and the tuned models, are asked in the training format. No chat "
        "template was applied. A base may have met a suite in its pretraining, which all conditions have in "
        "common. None is registered and none carries a claim."
    )
    doc.table(
        "Suites.",
        asked,
        [col("suite", "words"), col("task", "code"), col("version", "code"), col("harness", "text"),
         col("solved examples", "count", "shots"), col("condition", "words"), col("items", "count"),
         col("clusters", "count"), col("fingerprint", "code", "fingerprints"), col("when", "time", "at")],
    )  # fmt: skip
    doc.listed(
        "What each condition has of a suite",
        "SELECT * FROM suite_means WHERE run_id = $1 ORDER BY suite, NOT whole, task, metric, "
        "list_position(['base_raw', 'base_formatted', 'sft', 'dpo'], condition) NULLS LAST, condition",
        "Means by condition.",
        [col("suite", "words"), col("task", "code"), col("metric", "code"), col("condition", "words"),
         col("items", "count", "n"), col("clusters", "count"), col("unit", "words"), col("mean", "decimals"),
         col("95 % interval", "interval", "lo", "hi"), col("its method", "text", "interval_method"),
         col("higher is better", "yes", "higher_is_better")],
        "Its tasks have no metric of single items.",
    )  # fmt: skip
    found = doc.queries.ask(
        "What conditions differ by on a suite", f"SELECT * FROM suite_results WHERE run_id = $1 ORDER BY {_ORDER}"
    )
    if not found:
        doc.say("No tuned model was asked a suite: no difference is shown.", found)
        return
    doc.say(
        "Differences are after minus before on the same items. The unit of inference is the document, with documents "
        "that share a text as one cluster and tasks as strata; of a group of many tasks told as one figure it is the "
        "task. The interval and p are cluster-robust; q is the false discovery rate (Benjamini and Hochberg 1995) over "
        "the comparisons of one suite."
    )
    doc.table(
        "Differences on suites.",
        found,
        [*_COMPARED, col("items", "count", "n"), col("clusters", "count"), col("unit", "words"),
         col("before mean", "decimals", "before_mean"), col("after mean", "decimals", "after_mean"),
         col("difference", "decimals"), col("95 % interval", "interval", "lo", "hi"), col("p", "p"), col("q", "p"),
         col("d_z", "decimals", "dz"), col("its interval", "interval", "dz_lo", "dz_hi")],
    )  # fmt: skip
    doc.table(
        "Descriptions of the same; those that follow the sign flips of clusters take items for independent.",
        found,
        [*_COMPARED, col("gained", "count"), col("lost", "count"), col("p by sign flips of clusters", "p", "flip_p"),
         col("McNemar's exact p", "p", "mcnemar_p"),
         col("Newcombe's interval", "points_interval", "newcombe_lo", "newcombe_hi"),
         col("p of paired t", "p", "t_p"), col("p of Wilcoxon", "p", "wilcoxon_p"),
         col("BCa interval", "interval", "bca_lo", "bca_hi")],
    )  # fmt: skip
