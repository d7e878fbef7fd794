"""Text out of the program: to the clipboard of the terminal that a person sits at, or into a pager.

The clipboard is reached with OSC 52 through any number of SSH hops. It is set at a key press only, never because of
what a text says.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
from pathlib import Path

# Terminals cut or drop longer sequences: 100,000 characters are the least common limit (hterm, kitty, older xterm).
CLIPBOARD_BYTES = 74_000
TMUX_S = 2.0


class TooLong(Exception):
    """More text than terminals take; `size` is in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size:,} bytes are more than the {CLIPBOARD_BYTES:,} that terminals take over OSC 52")
        self.size = size


def osc52(text: str, *, tmux: bool = False) -> str:
    """The sequence that puts the text into the clipboard. Raises TooLong.

    Inside tmux it is sent twice: plain, which tmux takes where its set-clipboard is on, and wrapped in tmux's
    passthrough, which reaches the terminal where that is allowed.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > CLIPBOARD_BYTES:
        raise TooLong(len(data))
    plain = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    return plain + "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\" if tmux else plain


def to_tmux(text: str) -> bool:
    """Hand the text to tmux itself, which sets the clipboard even where it lets no program do so (its default)."""
    tmux = shutil.which("tmux")
    if tmux is None or not os.environ.get("TMUX"):
        return False
    try:
        given = text.encode("utf-8", "replace")
        done = subprocess.run([tmux, "load-buffer", "-w", "-"], input=given, capture_output=True, timeout=TMUX_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def pager() -> list[str] | None:
    """The pager's command: $PAGER, else less, else more; None where there is none."""
    try:
        chosen = shlex.split(os.environ.get("PAGER", ""))
    except ValueError:
        chosen = []
    for words in (chosen, ["less"], ["more"]):
        if words and (found := shutil.which(words[0])):
            # With -F a short text would be gone with the pager, at once, behind the screen that comes back.
            stays = ["-+F"] if Path(found).name == "less" else []
            return [found, *stays, *words[1:]]
    return None
