"""Commands as a test gives them: in this process, as JSON, or in a child."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.tui.cli_fakes import ROOT
from tui.cli import entry

SMALL = "stage_1_small_model"
HOSTILE = "\x1b]0;title\x07[red]x[/red]\u202eabc"


def run_cai(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = entry.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = run_cai(capsys, *arguments, "--json")
    found = json.loads(out)
    assert out.count("\n") == 1 and out.isascii()
    return code, found


def child(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tui.cli", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)
