"""What the documents name is there, and the standards that a look at the source decides."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "specs").glob("*.md"),
                 *(ROOT / "engine").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]
)  # fmt: skip
# A path from the root, not one inside another path or address.
PATH = re.compile(r"(?<![\w./-])(?:engine|tui|store|tests|bench|docs|specs)/[\w./*{},-]*")


def named(text: str) -> set[str]:
    return {found.rstrip(".,-") for found in PATH.findall(text)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document: str) -> None:
    paths = named((ROOT / document).read_text(encoding="utf-8"))
    assert [path for path in sorted(paths) if not list(ROOT.glob(path))] == []


def test_paths_are_found_in_running_text() -> None:
    assert named("In `store/card.py`, tui/app/ and (tests/e2e), not in cai/engine/x.py or on a.b/docs/c.") == {
        "store/card.py", "tui/app/", "tests/e2e",
    }  # fmt: skip


def test_no_class_name_stands_for_two_classes() -> None:
    places: dict[str, list[str]] = {}
    for path in (path for room in ("engine", "store", "tui") for path in sorted((ROOT / room).rglob("*.py"))):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # one within another, a message, is told by both
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    assert len(places) > 300
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
