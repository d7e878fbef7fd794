"""Moving into tmux before the screen opens, so that a lost connection costs nothing.

The command that is run carries names and values that anybody on the machine can read with `ps`. So only settings that
are no secret are carried over; a tmux server that is started by it has the whole environment anyway.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tui.host.terminal import NO_TMUX, Terminal

MULTIPLEXERS = ("TMUX", "STY", "ZELLIJ")
ASK_S = 2.0
_CARRIED = re.compile(
    r"CAI_\w+|CUDA_\w+|NVIDIA_VISIBLE_DEVICES|HF_HOME|HF_HUB_OFFLINE|HF_ENDPOINT|XDG_CONFIG_HOME|NO_COLOR|COLORTERM|"
    r"LANG|LC_\w+|PATH|VIRTUAL_ENV|PYTHONPATH|PAGER|TMPDIR|SSH_CONNECTION|VLLM_\w+|OMP_NUM_THREADS"
)
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(^|_)KEY($|_)|API_?KEY")
# A session goes with its program: what an error says would be gone before it can be read.
_KEEP_ERRORS = (
    '"$@"; code=$?; if [ $code -eq 1 ] || [ $code -eq 2 ]; then printf "Enter closes this session. "; read -r _; fi; '
    "exit $code"
)


def session_name(store: Path) -> str:
    """cai-<store>-<four digits of its path>: two stores of the same name in two folders are two sessions."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", store.stem).strip("-") or "store"
    return f"cai-{stem[:40]}-{hashlib.sha256(str(store).encode()).hexdigest()[:4]}"


def wanted(environ: Mapping[str, str], terminal: Terminal) -> str:
    """The path of tmux where moving into it makes sense, else nothing."""
    if not environ.get("SSH_CONNECTION") or any(environ.get(name) for name in MULTIPLEXERS):
        return ""
    return shutil.which("tmux", path=environ.get("PATH")) or "" if terminal.interactive else ""


def command(tmux: str, store: Path, argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The command that makes the session, or comes back to it where there is one."""
    carried = [f"{name}={value}" for name, value in sorted(environ.items()) if is_carried(name)]
    start = [tmux, "new-session", "-A", "-s", session_name(store), "-c", str(Path.cwd()), "--"]
    # env instead of tmux's own -e, which came with 3.2: Ubuntu 20.04 has 3.0.
    return [*start, "sh", "-c", _KEEP_ERRORS, "cai", "env", *carried, *program(), *argv, NO_TMUX]


def is_carried(name: str) -> bool:
    return bool(_CARRIED.fullmatch(name)) and not _SECRET.search(name)


def left_behind(environ: Mapping[str, str]) -> list[str]:
    """Names of secrets that a session of a running tmux server would lack."""
    return sorted(name for name in environ if _SECRET.search(name) and re.search(r"HF_|OPENAI|ANTHROPIC|CAI_", name))


def program() -> list[str]:
    """How this program is started again."""
    own = Path(sys.argv[0])
    if own.is_file() and os.access(own, os.X_OK) and own.suffix != ".py":
        return [str(own.absolute())]
    return [sys.executable, "-m", "tui.cli"]


def offer(
    store: Path,
    argv: Sequence[str],
    how: str,
    terminal: Terminal,
    remember: Callable[[str], None],
    environ: Mapping[str, str] | None = None,
) -> None:
    """Ask where it makes sense, and go into tmux on yes: this process becomes tmux then, and does not return.

    `how` is the setting offer_tmux; "always" and "never" as an answer are remembered.
    """
    environ = os.environ if environ is None else environ
    tmux = wanted(environ, terminal) if how != "never" else ""
    if not tmux:
        return
    if how == "ask":
        answer = _ask(tmux, store, terminal, environ)
        if answer in ("always", "never"):
            remember(answer)
        if answer in ("no", "never"):
            return
    _become(command(tmux, store, argv, environ), terminal)


def _ask(tmux: str, store: Path, terminal: Terminal, environ: Mapping[str, str]) -> str:
    there, running = _answers(tmux, "has-session", "-t", f"={session_name(store)}"), _answers(tmux, "list-sessions")
    say = terminal.stdout.write
    if there:
        say(f"cai is open on this store in the tmux session {session_name(store)}.\n")
        question = "Come back to it?"
    else:
        say("You are connected over SSH. In tmux, closing the laptop or losing the connection costs nothing:\n")
        say("cai goes on, and typing cai again comes back to the same screen.\n")
        if running and (names := left_behind(environ)):
            say(f"A tmux server is running already; {', '.join(names)} would have to be set in the session.\n")
        question = "Move into a tmux session?"
    words = {"": "yes", "y": "yes", "yes": "yes", "n": "no", "no": "no", "a": "always", "v": "never"}
    while True:
        answer = ask(terminal, f"{question} [Y/n, a = always, v = never] ")
        if answer is None:
            return "no"
        if found := words.get(answer.lower()):
            return found
        say("Please answer y, n, a or v.\n")


def ask(terminal: Terminal, prompt: str) -> str | None:
    """A line that a person typed, None at the end of input. Raises KeyboardInterrupt for Ctrl+C."""
    terminal.stdout.write(prompt)
    terminal.stdout.flush()
    line = sys.stdin.readline()
    return line.strip() if line else None


def _answers(tmux: str, *arguments: str) -> bool:
    try:
        asked: Any = subprocess.run([tmux, *arguments], capture_output=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(asked.returncode == 0)


def _become(argv: list[str], terminal: Terminal) -> None:
    terminal.stdout.flush()
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        terminal.stderr.write(f"tmux could not be started ({error.strerror}); going on without it.\n")
        terminal.stderr.flush()
