"""What the store knows of a run's evaluation: what was settled beforehand, and which frozen set was asked last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.query import Row
    from store.read import Reader


def registration(reader: Reader, run_id: str) -> Row | None:
    """The run's newest registration, its body as text; None where there is none."""
    rows = reader.query(
        'SELECT * FROM registrations WHERE run_id = ? ORDER BY "at" DESC, registration_id DESC LIMIT 1', [run_id]
    )
    return rows[0] if rows else None


def items_asked(reader: Reader, run_id: str, condition: str | None = None) -> str | None:
    """The hash of the frozen set that was asked last, of all conditions or of one; None where none was."""
    rows = reader.query(
        "SELECT items_sha256 FROM evaluation_answers WHERE run_id = $1 AND condition = coalesce($2, condition) "
        'ORDER BY "at" DESC LIMIT 1',
        [run_id, condition],
    )
    return str(rows[0]["items_sha256"]) if rows else None
