"""Shell completion: what the shells are given, and what bash makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.cli.commands import SMALL, run_cai
from tests.tui.cli_fakes import ROOT, RUN
from tui.cli.completion import SHELLS

COMPLETE = """
cai() {{ {python} -m tui.cli "$@"; }}
eval "$(cai completion bash)"
COMP_WORDS=(cai {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_cai cai "${{COMP_WORDS[$COMP_CWORD]}}" "${{COMP_WORDS[$((COMP_CWORD - 1))]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(words: str, store: Path) -> list[str]:
    """What bash offers for the last of the words."""
    program = COMPLETE.format(python=sys.executable, words=words)
    environment = {"CAI_STORE": str(store), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))}
    ran = subprocess.run(["bash", "-c", program], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr
    return ran.stdout.split()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("stat", "status"),
        ("status ru", RUN),
        (f"run {SMALL[:9]}", SMALL),
        ("run --set gate.runaw", "gate.runaway_below="),
        ("run --headl", "--headless"),
        ("samples --acc", "--accepted"),
    ],
)
def test_bash_completes_commands_runs_specs_settings_and_options(store: Path, words: str, offered: str) -> None:
    assert offered in completed(words, store)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_that_asks_for_names_when_they_are_wanted(
    capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    code, out, err = run_cai(capsys, "completion", shell)
    assert (code, err) == (0, "")
    for name in ("runs", "specs", "settings"):
        assert f"cai completion --list {name}" in out
    assert "statsu" not in out and "status" in out
    if shell == "zsh":  # asked by a function, else by each command when the script is read
        assert out.count("cai completion --list runs") == 1 and "_cai_runs() {" in out


def test_names_are_printed_one_a_line_and_no_store_is_no_error(
    capsys: pytest.CaptureFixture[str], store: Path, tmp_path: Path
) -> None:
    assert run_cai(capsys, "completion", "--list", "runs", "--store", store) == (0, f"{RUN}\n", "")
    assert run_cai(capsys, "completion", "--list", "runs", "--store", tmp_path / "none") == (0, "", "")
    assert SMALL in run_cai(capsys, "completion", "--list", "specs")[1].split("\n")
    assert "responses.temperature=" in run_cai(capsys, "completion", "--list", "settings")[1].split("\n")
    assert run_cai(capsys, "completion")[0] == 2
