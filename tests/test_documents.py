"""What the documents name is there, and the standards that a look at the source decides."""

from __future__ import annotations

import ast
import os
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


STANDS_IN = """#!/bin/bash
echo "$(basename "$0") $*" >> said
case "$(basename "$0") $1" in
"cai import") grep -q bad "$2" && { echo "refused: $2 is bad"; exit 1; }; echo "$2: 1 answers" ;;
"cai resume") [ -f requests.jsonl ] && exit 1; [ -f done ] && exit 0; touch requests.jsonl; exit 3 ;;
sbatch*) echo 7 ;;
esac
"""


def test_refused_answers_are_set_aside_and_asked_again_only_by_a_person(tmp_path: Path) -> None:
    for name in ("cai", "sbatch"):
        (tmp_path / name).write_text(STANDS_IN)
        (tmp_path / name).chmod(0o700)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def share(what: str) -> tuple[int, list[str]]:
        (tmp_path / "said").write_text("")
        command = ["bash", str(ROOT / "docs/scale/shares.slurm"), what]
        code = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True).returncode
        return code, [" ".join(line.split()[:2]) for line in (tmp_path / "said").read_text().splitlines()]

    def answered(**texts: str) -> None:
        (tmp_path / "requests.jsonl").touch()
        for name, text in texts.items():
            (tmp_path / f"answers-{name}.jsonl").write_text(text)

    answered()
    assert share("take") == (1, [])  # no job left answers
    answered(a="good", b="bad", c="good")
    assert share("take") == (1, ["cai import"] * 3)
    assert [path.name for path in tmp_path.glob("answers-*")] == ["answers-b.jsonl.refused"]
    asked = ["cai resume", "sbatch --parsable", "sbatch --parsable"]
    assert share("next") == (0, asked)
    answered(b="good")
    assert share("take") == (0, ["cai import", *asked])
    answered(b="good")
    assert share("next") == (0, ["cai import", *asked])
    (tmp_path / "done").touch()
    assert share("next") == (0, ["cai resume"])


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
