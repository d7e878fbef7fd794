"""What the Run room reads beside the events: lengths, near-duplicates, candidates by status, preferences by source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.read import Reader

DUPLICATES_SHOWN = 3
LENGTHS_AT_MOST = 8192
MARGINS_AT_MOST = 5_000  # of a critic

_JUDGED = """
    SELECT subject_kind AS name, count(*) AS judged, count(*) FILTER (WHERE verdict = 'accepted') AS accepted
    FROM verdicts WHERE run_id = ? GROUP BY 1
"""
# Of each topic the latest review counts: those before it were asked on other evidence.
_UNDECIDED = """
    SELECT topic FROM (
        SELECT topic, max(seq) AS latest, bool_or(kind = 'decision') AS decided
        FROM review_entries WHERE run_id = ?
        GROUP BY topic, review_id HAVING arg_min(body->>'form', seq) IS DISTINCT FROM 'document'
        QUALIFY row_number() OVER (PARTITION BY topic ORDER BY min(seq) DESC) = 1
    ) WHERE NOT decided ORDER BY latest
"""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Of one run: responses by length in tokens, their limit, candidates by status, what was written most often."""

    run_id: str = ""
    lengths: Mapping[int, int] = field(default_factory=dict)
    limit: int | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    duplicates: tuple[tuple[int, str], ...] = ()  # (near-duplicates left out, the text that was kept)
    stops: Mapping[str, int] = field(default_factory=dict)
    candidates: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)  # by source: made, judged, accepted
    pairs: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    flags: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by subject kind: rejected by each flag
    nats: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)  # margins, by critic and kind
    judged: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # by subject kind: judged, accepted
    reviews: tuple[str, ...] = ()  # topics that nobody has decided yet


def run_facts(reader: Reader, run_id: str) -> RunFacts:
    """Read them; every answer is a few rows, whatever the size of the run."""
    settings: dict[str, Any] = reader.run(run_id)["settings"]

    def grouped(sql: str) -> dict[Any, int]:
        return {row["name"]: row["n"] for row in reader.query(sql, [run_id])}

    lengths = grouped(
        f"SELECT n_tokens AS name, count(*) AS n FROM samples WHERE run_id = ? GROUP BY 1 ORDER BY 1 "
        f"LIMIT {LENGTHS_AT_MOST}"
    )
    return RunFacts(
        run_id,
        lengths,
        (settings.get("responses") or {}).get("max_tokens"),
        grouped("SELECT status AS name, count(*) AS n FROM instructions WHERE run_id = ? GROUP BY 1 ORDER BY n DESC"),
        _duplicates(reader, run_id),
        grouped("SELECT stop_reason AS name, count(*) AS n FROM samples WHERE run_id = ? GROUP BY 1 ORDER BY n DESC"),
        **(_preferences(reader, run_id) if settings.get("pairs") else {}),
        judged={row["name"]: (row["judged"], row["accepted"]) for row in reader.query(_JUDGED, [run_id])},
        reviews=tuple(row["topic"] for row in reader.query(_UNDECIDED, [run_id])),
    )


def seeds_of(reader: Reader, run_id: str) -> dict[str, dict[str, Any]]:
    """The seeds that a run's lists are begun with, by id: each kind of instruction has its own."""
    from engine.core.data import read_data  # the engine is not touched before the first frame
    from engine.spec.sections import InstructionsSpec

    settings: dict[str, Any] = reader.run(run_id)["settings"].get("instructions") or {}
    shown = InstructionsSpec.model_construct(**settings).shown("seeds")  # runs from before there were kinds have none
    return {row["id"]: row for row in read_data(shown)}


def _preferences(reader: Reader, run_id: str) -> dict[str, Any]:
    def by_source(table: str, kind: str) -> dict[str, tuple[int, int, int]]:
        rows = reader.query(
            f"SELECT t.source, count(*) AS made, count(v.verdict) AS judged, "
            f"count(*) FILTER (WHERE v.verdict = 'accepted') AS accepted FROM {table} t LEFT JOIN verdicts v "
            f"ON v.run_id = t.run_id AND v.subject_kind = '{kind}' AND v.subject_id = t.{kind}_id "
            "WHERE t.run_id = ? GROUP BY 1 ORDER BY 2 DESC, 1",
            [run_id],
        )
        return {row["source"]: (row["made"], row["judged"], row["accepted"]) for row in rows}

    flags: dict[str, dict[str, int]] = {}
    for row in reader.query(
        "SELECT subject_kind, flag, count(*) AS n FROM (SELECT subject_kind, unnest(flags) AS flag FROM verdicts "
        "WHERE run_id = ? AND subject_kind IN ('revision', 'candidate', 'pair') AND verdict = 'rejected') "
        "GROUP BY 1, 2 ORDER BY 3 DESC, 2",
        [run_id],
    ):
        flags.setdefault(row["subject_kind"], {})[row["flag"]] = row["n"]
    nats: dict[tuple[str, str], list[float]] = {}
    for row in reader.query(
        "SELECT critic, subject_kind, margin_nats FROM judgements WHERE run_id = ? "
        "AND subject_kind IN ('revision', 'pair') AND isfinite(margin_nats) QUALIFY row_number() OVER "
        f"(PARTITION BY critic, subject_kind ORDER BY subject_id) <= {MARGINS_AT_MOST}",
        [run_id],
    ):
        nats.setdefault((row["critic"], row["subject_kind"]), []).append(row["margin_nats"])
    return {
        "candidates": by_source("candidates", "candidate"),
        "pairs": by_source("pairs", "pair"),
        "flags": flags,
        "nats": {key: tuple(values) for key, values in nats.items()},
    }


def _duplicates(reader: Reader, run_id: str) -> tuple[tuple[int, str], ...]:
    rows = reader.query(
        "SELECT d.duplicate_of AS id, d.n, i.text FROM (SELECT duplicate_of, count(*) AS n FROM instructions "
        "WHERE run_id = $1 AND status = 'duplicate' GROUP BY 1) d LEFT JOIN instructions i "
        "ON i.run_id = $1 AND i.instruction_id = d.duplicate_of ORDER BY d.n DESC, d.duplicate_of "
        f"LIMIT {DUPLICATES_SHOWN}",
        [run_id],
    )
    seeds: dict[str, str] = {}
    if any(row["text"] is None for row in rows):
        seeds = {name: row["text"] for name, row in seeds_of(reader, run_id).items()}
    return tuple((row["n"], row["text"] or f"{seeds.get(row['id'], '')} ({row['id']})") for row in rows)


def review_of(reader: Reader, run_id: str, question_id: str) -> dict[str, Any] | None:
    """The review that a question or a decision belongs to, as `engine.review.reviews` lists it, with its `prompt`.

    `question_id` is the id under which a person is asked, or that of a row of `decisions`. None where it is neither.
    """
    from engine.review.listing import reviews  # not before the first frame: it brings DuckDB
    from engine.review.trail import entries

    review_id = question_id.partition(".")[0]
    if question_id.startswith("review-"):
        seq = question_id.removeprefix("review-").lstrip("0")
        found = next((entry for entry in entries(reader, run_id) if str(entry.seq) == seq), None)
        review_id = found.review_id if found is not None else ""
    row = next((one for one in reviews(reader, run_id) if one["review_id"] == review_id), None)
    if row is None:
        return None
    asked = [entry for entry in entries(reader, run_id, review_id) if entry.kind == "request"]
    return {**row, "prompt": str(asked[0].body.get("prompt", "")) if asked else ""}
