"""What a store holds, and what lies beside it, in a form that two stores of the same work have in common."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from store.db import Store
from store.read import Reader
from store.salvage.known import read_known
from store.salvage.own import own

# Of one process, of one moment or of one machine: who answered again, because the first answer was cut off, did so.
OF_A_PROCESS = frozenset({"sessions", "events", "metrics", "ledger", "review_entries"})
OF_A_MOMENT = frozenset(
    {
        "run_id", "session_id", "decision_id", "created_at", "at", "decided_at", "updated_at", "started_at", "elapsed_s",
        "manifest",
    }
)  # fmt: skip
TIMES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*( UTC)?|\d{4}-\d\d-\d\d")


def tables_of(reader: Reader) -> dict[str, list[str]]:
    """The names of all columns, by table."""
    found: dict[str, list[str]] = {}
    for row in reader.query(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND schema_name = 'main' "
        "AND database_name = current_database() AND table_name != 'cai_schema' ORDER BY table_name, column_index"
    ):
        found.setdefault(row["table_name"], []).append(row["column_name"])
    return found


def rows_of(path: Path, *, all_of: bool = False) -> dict[str, list[str]]:
    """All rows of a store by table, in an order of their own, as text; with `all_of` also what is of one process."""
    found = {}
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        runs = {
            row["run_id"]: f"run-{n}"
            for n, row in enumerate(reader.query("SELECT run_id FROM runs ORDER BY created_at"))
        }
        for table, columns in tables_of(reader).items():
            if not all_of and table in OF_A_PROCESS:
                continue
            chosen = [f'"{name}"' for name in columns if all_of or name not in OF_A_MOMENT]
            rows = reader.query(f"SELECT {', '.join(chosen)} FROM {table}")
            found[table] = sorted(_named(json.dumps(row, default=str, sort_keys=True), runs) for row in rows)
    return found


def _named(text: str, runs: dict[str, str]) -> str:
    for run_id, name in runs.items():
        text = text.replace(run_id, name)
    return text


def differences(found: dict[str, list[str]], wanted: dict[str, list[str]]) -> list[str]:
    """Rows that one of two stores has more of than the other."""
    told = []
    for table in sorted(found.keys() | wanted.keys()):
        mine, theirs = list(found.get(table, [])), list(wanted.get(table, []))
        for row in wanted.get(table, []):
            if row in mine:
                mine.remove(row)
                theirs.remove(row)
        told += [f"{table} more: {row[:400]}" for row in mine] + [f"{table} lacks: {row[:400]}" for row in theirs]
    return told


def left_by(path: Path) -> tuple[dict[str, str], str]:
    """What a killed process left: who computed each answer of a model, and the phase that began last, "" before one."""
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        last = reader.query(
            "SELECT payload->>'phase' AS phase FROM events WHERE kind = 'PhaseStarted' "
            'ORDER BY "at" DESC, seq DESC LIMIT 1'
        )
        return computed(reader), str(last[0]["phase"]) if last else ""


def computed(reader: Any) -> dict[str, str]:
    """Who computed each answer of a model: the session by the request."""
    both = "SELECT request_id, session_id FROM completions UNION ALL SELECT request_id, session_id FROM scores"
    return {row["request_id"]: row["session_id"] for row in reader.query(both)}


def twice(path: Path) -> list[str]:
    """What is there more than once although it was done once: answers, and rows of a place that is one row's."""
    one_of_a_kind = {
        "instructions": "run_id, ordinal", "samples": "run_id, ordinal", "revisions": "run_id, sample_id, round",
        "candidates": "run_id, instruction_id, source, number", "decisions": "run_id, topic, question, answer",
    }  # fmt: skip
    told = []
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        for table, key in one_of_a_kind.items():
            more = reader.query(f"SELECT {key}, count(*) AS n FROM {table} GROUP BY {key} HAVING count(*) > 1")
            told += [f"{table}: {row}" for row in more]
        more = reader.query(
            "SELECT request_id FROM (SELECT request_id FROM completions UNION ALL SELECT request_id FROM scores) "
            "GROUP BY 1 HAVING count(*) > 1"
        )
    return told + [f"answers: {row}" for row in more]


def left_beside(store: Path) -> list[str]:
    """What half-written things lie in the store's folder, at any depth.

    A closed store has none; the empty folder that checkpoints are written in is none.
    """
    return sorted(
        str(path.relative_to(store.parent))
        for path in store.parent.rglob("*")
        if path.name.startswith(".") or path.name.endswith((".partial", ".tmp", ".sock", ".wal"))
        if not path.is_dir() or any(path.iterdir())
    )


def commits_agree(path: Path) -> bool:
    """Whether a closed store's own count of commits is the one that is known beside it."""
    known = read_known(path)
    with Store.open(path, read_only=True) as store:
        found = own(store._writer)
    return known is not None and found is not None and (known.store, known.commits) == (found.store, found.commits)


def files_of(folder: Path) -> dict[str, str]:
    """The files of an export by their hashes; of the card all but dates, places and the run's own name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.name == "README.md":
                content = re.sub(r"\d{8}-\d{6}-\w+", "RUN", TIMES.sub("DATE", content.decode())).encode()
            found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found
