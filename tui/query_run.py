"""What the Run room reads beside the events: lengths, near-duplicates, candidates by status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store import Reader

DUPLICATES_SHOWN = 3
LENGTHS_AT_MOST = 8192


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Of one run: responses by length in tokens, their limit, candidates by status, what was written most often."""

    run_id: str = ""
    lengths: Mapping[int, int] = field(default_factory=dict)
    limit: int | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    duplicates: tuple[tuple[int, str], ...] = ()  # (near-duplicates left out, the text that was kept)
    stops: Mapping[str, int] = field(default_factory=dict)


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
    )


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
        from engine.critics import read_data

        seeds = {row["id"]: row["text"] for row in read_data("seeds")}
    return tuple((row["n"], row["text"] or f"{seeds.get(row['id'], '')} ({row['id']})") for row in rows)
