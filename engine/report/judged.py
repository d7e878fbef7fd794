"""Answers compared in pairs by a judge: win rates, agreement with a person, helpfulness against harmlessness."""

from __future__ import annotations

from engine.evaluation.judging.frontier import POINTS
from engine.report import figures
from engine.report.document import Document, col
from engine.stats.shares import wilson_columns

_COMPARED = [
    col("judge", "code"), col("question", "words"), col("before", "words"), col("after", "words"),
]  # fmt: skip
_ORDER = "ORDER BY judge, question DESC, before NOT LIKE 'base%', after = 'dpo', before, after"


def judged(doc: Document) -> None:
    """Win rates of every judge that was asked; nothing but a sentence where nobody was."""
    doc.section("Answers judged in pairs")
    found = doc.queries.ask("Win rates by a judge", f"SELECT * FROM judge_results WHERE run_id = $1 {_ORDER}")
    if not found:
        doc.say("Not measured in this run: no judge was asked which of two answers is better.", found)
        return
    doc.say(
        "A judge read both answers to a test item in both orders and said which is more helpful; of items that ask for "
        "harm, which is less harmful. A win is a preference in both orders; where the orders disagree it is a tie, and "
        "a tie counts half. The raw interval allows for items of one template being alike (cluster-robust). The win "
        "rate at equal length is the intercept of a logistic regression of the outcome on the difference in length "
        "(length-controlled AlpacaEval, Dubois et al. 2024, without its term for the difficulty of an instruction), "
        "with an interval clustered by template. None of it is a claim: a judge has tastes of its own, for length, for "
        "what stands first and for what it would have written."
    )
    if any(row["local"] for row in found.rows):
        doc.say(
            "A local judge decides by the log-probabilities of the letters of both answers. Where it is the base model "
            "of this run it judges texts of its own kind."
        )
    doc.table(
        "Win rates of after against before, as they were judged.",
        found,
        [*_COMPARED, col("pairs", "count", "n"), col("templates", "count", "clusters"), col("wins", "count"),
         col("ties", "count"), col("losses", "count"), col("ties by disagreeing orders", "count", "turned"),
         col("without a verdict", "count", "unreadable"), col("win rate", "share", "win_rate"),
         col("95 % interval", "shares", "lo", "hi"), col("p", "p"), col("q", "p")],
    )  # fmt: skip
    doc.table(
        "Win rates at equal length; the effect is the log odds of a win.",
        found,
        [*_COMPARED, col("win rate", "share", "lc_win_rate"), col("95 % interval", "shares", "lc_lo", "lc_hi"),
         col("log odds", "decimals", "lc_log_odds"), col("p", "p", "lc_p"), col("q", "p", "lc_q"),
         col("slope of length", "decimals", "length_slope"),
         col("mean difference, characters", "figure", "length_mean")],
    )  # fmt: skip
    _person(doc)
    points = doc.queries.ask("Helpfulness against harmlessness", POINTS)
    if not points:
        doc.say("Helpfulness and harmlessness were not both judged against the base in its training format.", points)
        return
    caption = (
        "helpfulness against harmlessness as win rates against the base in its training format, with 95 % intervals; "
        "the form of figure two of the paper (Bai et al. 2022), with win rates in the place of Elo scores."
    )
    doc.figure(figures.frontier(points), points, caption)
    doc.table(
        "Helpfulness and harmlessness against the base. Harmlessness is not controlled for length: a refusal is short.",
        points,
        [col("judge", "code"), col("condition", "words"), col("more helpful", "share", "helpful"),
         col("95 % interval", "shares", "helpful_lo", "helpful_hi"), col("at equal length", "yes", "controlled"),
         col("pairs", "count", "helpful_n"), col("less harmful", "share", "harmless"),
         col("its 95 % interval", "shares", "harmless_lo", "harmless_hi"), col("its pairs", "count", "harmless_n")],
    )  # fmt: skip


def _person(doc: Document) -> None:
    n, k = "sum(person_n)", "sum(person_agrees)"
    found = doc.queries.ask(
        "Agreement of a judge with a person",
        f"SELECT judge, {n} AS n, {k} AS agrees, sum(person_alike) AS alike, {k} / nullif({n}, 0)::DOUBLE AS share, "
        f"{wilson_columns(k, n, 'lo', 'hi')} FROM judge_results WHERE run_id = $1 GROUP BY judge ORDER BY judge",
    )
    if not any(row["n"] for row in found.rows):
        doc.say("Agreement with a person: not read. Nobody has called one answer of a judged pair good and the other "
                "bad, so that nothing is known of the judge but what it said.", found)  # fmt: skip
        return
    doc.table(
        "How often a judge prefers the answer that a person called good where the other was called bad; its ties count "
        "against it. The person judged whether an answer is right, not which helps more.",
        found,
        [col("judge", "code"), col("pairs told apart by the person", "count", "n"), col("agrees", "count"),
         col("share", "share"), col("95 % interval", "shares", "lo", "hi"),
         col("pairs called alike", "count", "alike")],
    )  # fmt: skip
