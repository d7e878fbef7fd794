"""The tables of the store, as the list of steps that build them: the files of `steps`, in the order of their numbers.

A step is never edited once released: a change of the schema is a new step at the end. `len(STEPS)` is the version.
Every derived table's primary key is the identity of its row, so that an append that is repeated changes nothing.
"""

from __future__ import annotations

from pathlib import Path

STEPS = tuple(path.read_text(encoding="utf-8") for path in sorted((Path(__file__).parent / "steps").glob("*.sql")))
VERSION = len(STEPS)
