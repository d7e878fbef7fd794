"""What the documents name is there, and the standards that a look at the source decides."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

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


SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/scale").iterdir())
CALL = re.compile(r"(?<![\w/.-])(?:~/cai/bin/)?cai ([a-z]+ [^|&;\n]*|[a-z]+$)", re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS)
def test_files_for_clusters_can_be_read_and_call_commands_that_exist(script: str) -> None:
    from tui.cli.entry import parser

    text = (ROOT / script).read_text(encoding="utf-8")
    if script.endswith(".yaml"):
        found = yaml.safe_load(text)
        text = found.get("run", "")
        subprocess.run(["bash", "-n"], input=found.get("setup", "") + text, text=True, check=True)
    else:
        subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", "echo")))
    calls = CALL.findall(code)
    assert calls or "volume" in script
    for call in calls:
        parser().parse_args(shlex.split(re.sub(r"\$\{?\w+\}?", "1", call.replace("$CAI_ARGS", ""))))
