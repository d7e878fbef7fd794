"""Repeats of a run with other seeds: what they say together, and how far seeds differ."""

from __future__ import annotations

from engine.report.document import Document, col
from engine.report.query import QueryResult
from engine.stats.seeds import FEWEST
from store.names import REPEAT, REPEAT_OF
from store.outcomes import HOLDS_OVER_SEEDS_SQL, SHOWN_SQL


def over_seeds(doc: Document) -> QueryResult:
    """The comparisons over seeds with the role of each, the primary one first."""
    return doc.queries.ask(
        "Differences over seeds",
        "SELECT s.* EXCLUDE (runs, differences), r.role, 100 * between_sd AS sd, 100 * between_lo AS sd_lo, "
        "100 * between_hi AS sd_hi, list_min(differences) AS least, list_max(differences) AS most, "
        f"{SHOWN_SQL} AS shown, {HOLDS_OVER_SEEDS_SQL} AS holds FROM evaluation_seeds s "
        "JOIN evaluation_results r USING (run_id, capability, before, after) WHERE run_id = $1 AND r.item_type = 'all' "
        "ORDER BY r.role = 'primary' DESC, capability DESC, before, after",
    )


def against_claim(doc: Document) -> list[str]:
    """What repeats, or being one, have against a claim of this run."""
    of = doc.queries.ask(
        "Whether this run repeats another",
        f"SELECT manifest->>'$.{REPEAT_OF}' AS repeat_of FROM runs WHERE run_id = $1",
    )
    told = "this run repeats training and evaluation of {repeat_of:code} with another seed; a claim is that run's."
    found = doc.holding(of, [(of.row["repeat_of"], told)])
    over = over_seeds(doc)
    told = (
        "the registered test shows the difference of this run's adapter, but over {seeds:count} seeds the interval "
        "{lo,hi:points_interval} of {difference:points} points has no difference in it."
    )
    return [
        *found,
        *(
            doc.told(told, over, row)
            for row in over.rows
            if row["role"] == "primary" and row["shown"] and not row["holds"]
        ),
    ]


def in_claim(doc: Document) -> None:
    """The interval over seeds behind the claim, where there is one."""
    over = over_seeds(doc)
    for row in over.rows:
        if row["role"] == "primary" and row["lo"] is not None:
            doc.say(
                "**Over seeds** the difference is {difference:points} points {lo,hi:points_interval}: the mean of "
                "{seeds:count} trainings with other seeds, between which it has a standard deviation of {sd:figure} "
                "points ({method:text}, 95 % interval). This is the interval of the claim, for training again on these "
                "data as well as for other templates; the one above is of this run's own adapter.",
                over,
                row,
            )


def seeds(doc: Document) -> None:
    """The comparisons over seeds, the model behind them, and each run's own difference."""
    doc.section("Repeats with other seeds")
    over = over_seeds(doc)
    if not over:
        doc.say(
            "Training was not repeated with other seeds, or no repeat counts: what another seed would have given "
            "is in no interval of this report.",
            over,
        )
        return
    few = doc.queries.ask(
        "How many seeds were tried", "SELECT max(seeds) AS seeds, $2 AS fewest FROM evaluation_seeds WHERE run_id = $1",
        FEWEST,
    )  # fmt: skip
    doc.say(
        "Repeats were trained on the same data with the same settings and another seed, and asked the same "
        "items; one of which more answers are undecided than a claim may have is left out. "
        "A difference is taken as the sum of effects of its template, of its seed, of both together, "
        "and of its item. Items are nested in templates and these in types; seeds are crossed with all of "
        "them. Templates and seeds are draws, types are fixed (the crossed random effects of generalizability "
        "theory, Brennan 2001). So the error over seeds has two parts: that of templates, cluster-robust, "
        "from differences averaged over seeds, and what seeds vary by beyond what items make of it. How other "
        "data would differ is in neither."
    )
    doc.say(
        "Of {seeds:count} seeds; below {fewest:count} the spread is described and there is no interval. With few "
        "seeds the spread is known roughly, as its own interval shows, and the degrees of freedom make the interval of "
        "the difference as wide as that asks for. No test is made over seeds: they can take a claim away and add none.",
        few,
    )
    doc.table(
        "Differences over seeds, after minus before, in percentage points.",
        over,
        [col("capability", "words"), col("before", "words"), col("after", "words"), col("role", "words"),
         col("seeds", "count"), col("test items", "count", "n"), col("templates", "count", "clusters"),
         col("difference, points", "points", "difference"), col("95 % interval", "points_interval", "lo", "hi"),
         col("degrees of freedom", "figure", "df"), col("least", "points"), col("most", "points"),
         col("standard deviation between seeds, points", "figure", "sd"),
         col("its 95 % interval", "interval", "sd_lo", "sd_hi")],
    )  # fmt: skip
    doc.listed(
        "Each run's own difference",
        f"""
        WITH one AS (
            SELECT capability, before, after, unnest(runs) AS run, unnest(differences) AS difference
            FROM evaluation_seeds WHERE run_id = $1
        )
        SELECT capability, before, after, run, r.seed::VARCHAR AS seed, r.manifest->>'$.{REPEAT}' AS repeat, difference
        FROM one JOIN runs r ON r.run_id = one.run
        ORDER BY capability DESC, before, after, repeat IS NOT NULL, repeat::INTEGER
        """,
        "Differences of each run on the items that all have in common.",
        [col("capability", "words"), col("before", "words"), col("after", "words"), col("run", "code"),
         col("repeat", "words"), col("seed", "code"), col("difference, points", "points", "difference")],
    )  # fmt: skip
