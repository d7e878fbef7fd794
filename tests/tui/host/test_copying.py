"""Text out of the program: the sequence that sets the clipboard, and the pager on the real terminal."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.host.test_hangup import HOSTILE, on_a_screen
from tests.tui.screen import settle
from tui.app.app import ControlCenter
from tui.host import clipboard


def test_the_sequence_carries_the_text_and_nothing_of_it_gets_out() -> None:
    sequence = clipboard.osc52(HOSTILE)
    found = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    assert found is not None
    assert base64.b64decode(found[1]).decode() == HOSTILE
    assert base64.b64decode(clipboard.osc52("\ud800 lone")[7:-1]) == b"? lone"


def test_in_tmux_it_is_sent_plain_and_wrapped() -> None:
    plain = clipboard.osc52("text")
    both = clipboard.osc52("text", tmux=True)
    assert both.startswith(plain)
    wrapped = both[len(plain) :]
    assert wrapped.startswith("\x1bPtmux;\x1b\x1b]52;c;") and wrapped.endswith("\x07\x1b\\")
    assert "\x1b" not in wrapped[len("\x1bPtmux;\x1b\x1b") : -2]


def test_more_than_terminals_take_is_refused() -> None:
    assert len(clipboard.osc52("x" * clipboard.CLIPBOARD_BYTES)) < 100_000
    with pytest.raises(clipboard.TooLong, match=r"74,001 bytes"):
        clipboard.osc52("x" * (clipboard.CLIPBOARD_BYTES + 1))
    with pytest.raises(clipboard.TooLong):
        clipboard.osc52("ü" * clipboard.CLIPBOARD_BYTES)


def test_tmux_itself_is_handed_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "tmux"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat > {tmp_path}/given\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("TMUX", raising=False)
    assert not clipboard.to_tmux("text")
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    assert clipboard.to_tmux(HOSTILE)
    assert (tmp_path / "asked").read_text().split() == ["load-buffer", "-w", "-"]
    assert (tmp_path / "given").read_text() == HOSTILE
    fake.write_text("#!/bin/sh\nexit 1\n")
    assert not clipboard.to_tmux("text")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("", ["less", "-+F"]), ("less -S", ["less", "-+F", "-S"]), ("cat", ["cat"]), ("no-such-pager", ["less", "-+F"]),
     ("'unclosed", ["less", "-+F"])],
)  # fmt: skip
def test_the_pager_is_the_persons_own(monkeypatch: pytest.MonkeyPatch, wanted: str, words: list[str]) -> None:
    monkeypatch.setenv("PAGER", wanted)
    found = clipboard.pager()
    if found is None or Path(found[0]).name != words[0]:
        pytest.skip(f"there is no {words[0]}")
    assert [Path(found[0]).name, *found[1:]] == words


def test_without_a_pager_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PAGER", raising=False)
    assert clipboard.pager() is None


# -- on the screen -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def on_screen(tmp_path: Path) -> AsyncIterator[tuple[Any, Pilot[Any], list[str]]]:
    app = ControlCenter(tmp_path / "none.duckdb", None, None, None)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot, lambda: bool(app.query("#log")))
        sent: list[str] = []
        app._driver.write = sent.append
        yield app, pilot, sent


def notices(app: Any) -> str:
    return "\n".join(item.message for item in app._notifications)


async def test_copying_says_what_was_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    async with on_screen(tmp_path) as (app, pilot, sent):
        app.copy_text("four", "sample [b]abc[/b] as JSON")
        assert clipboard.osc52("four") in sent
        await pilot.pause()
        assert "copied 4 characters (sample [b]abc[/b] as JSON)" in notices(app)
        assert "OSC 52" in notices(app)
        await pilot.pause()
        before = len(sent)
        app.copy_text("x" * 80_000, "the log")
        await pilot.pause()
        assert not any("]52;" in item for item in sent[before:])
        assert "Not copied: 80,000 bytes" in notices(app)


async def test_a_terminal_that_cannot_be_lent_is_said(tmp_path: Path) -> None:
    async with on_screen(tmp_path) as (app, pilot, _):
        app.open_in_pager("text")
        await pilot.pause()
        assert "cannot be lent to a pager" in notices(app)


def test_the_pager_gets_the_terminal_and_inert_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key `,` opens the pager here; what the pager prints must be on the terminal, not in the log."""
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\nprintf 'PAGER<'; cat; printf '>PAGER'\n")
    pager.chmod(0o755)
    environ = {"PAGER": str(pager), "CAI_TEST_PAGES": "1"}
    with on_a_screen("commits", "--store", tmp_path / "a.duckdb", environ=environ) as screen:
        screen.wait_for("No run yet")
        screen.type(",")
        screen.wait_for(">PAGER")
        shown = screen.seen.partition(b"PAGER<")[2].partition(b">PAGER")[0].decode()
        assert shown.replace("\r\n", "\n") == "␛]52;c;aGFjaw==␇[red]naïve[/] ⟨U+202E⟩abc"
        screen.seen = screen.seen.partition(b">PAGER")[2]  # the screen may be back already
        screen.wait_for("No run yet")
        screen.type("q")
        assert screen.wait_for_end() == 0
    assert "PAGER" not in (tmp_path / "a.log").read_text()
