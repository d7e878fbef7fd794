"""What a person set: theme, keys, bell; text taken out of the program; the screen given up with its terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import SuspendNotSupported, SystemCommand

from tui.app import themes
from tui.app.background import Working
from tui.config.settings import Config
from tui.host import clipboard
from tui.host.terminal import only_continue_on_a_terminal
from tui.words.text import make_visible

if TYPE_CHECKING:
    from textual.screen import Screen


SHOWN_PROBLEMS = 4
PAGER_LOOK_S = 0.5


class Personal(Working):
    """Mixed into the app. It calls `apply_config` before it runs; without that the defaults hold."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.config = Config(Path())
        self._copied = False
        themes.dress(self)
        themes.wear(self, self.config.theme)

    # -- settings ----------------------------------------------------------------------------------------------------

    def apply_config(self, config: Config) -> None:
        """Take over what the person set; may be called again while the screen is up."""
        keys_changed = config.keymap != self.config.keymap
        self.config = config
        themes.wear(self, config.theme)
        remote = bool(os.environ.get("SSH_CONNECTION"))
        level: Any = config.animation if config.animation != "auto" else "none" if remote else "full"
        self.animation_level = level
        if self.is_running and keys_changed:
            self._apply_keymap()

    def on_mount(self) -> None:
        only_continue_on_a_terminal()
        if self.config.keymap:
            self._apply_keymap()
        elif problems := self._problems():
            self.call_after_refresh(self._show_problems, problems)

    def _problems(self) -> list[str]:
        unknown = themes.unknown_theme(self.config.theme)
        return [*self.config.problems, *([unknown] if unknown else [])]

    def _apply_keymap(self) -> None:
        """Look at all bindings, which imports every room, off the screen's thread; then apply the keymap."""

        def look() -> tuple[dict[str, str], list[str]]:
            from tui.app import keymap  # not before the first frame

            return keymap.complete(self.config.keymap, keymap.places())

        def apply(found: tuple[dict[str, str], list[str]]) -> None:
            self.set_keymap(found[0])
            if problems := [*self._problems(), *found[1]]:
                self._show_problems(problems)

        self.background("reading the keymap", look, apply)

    def _show_problems(self, problems: list[str]) -> None:
        more = len(problems) - SHOWN_PROBLEMS
        told = problems[:SHOWN_PROBLEMS] + ([f"and {more} more: cai config lists them"] if more > 0 else [])
        title = "The configuration has a mistake" if len(problems) == 1 else f"{len(problems)} mistakes in the settings"
        self.notice.tell(title, "\n".join(told), lasting=True)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        yield SystemCommand("Settings", "Theme, keys and defaults, and where each comes from", self.action_settings)

    def action_settings(self) -> None:
        from tui.app.settings_screen import SettingsScreen  # not before the first frame

        if not isinstance(self.screen, SettingsScreen):
            self.push_screen(SettingsScreen(self.config, self.apply_config))

    def bell(self) -> None:
        if self.config.bell:
            super().bell()

    # -- text out of the program -------------------------------------------------------------------------------------

    def copy_text(self, text: str, what: str) -> None:
        """Put text into the clipboard of the terminal; `what` says in the notice what it is. For key presses only."""
        try:
            sequence = clipboard.osc52(text, tmux=bool(os.environ.get("TMUX")))
        except clipboard.TooLong as error:
            self.notify(f"Not copied: {error}. Export it, or read it in the pager.", severity="warning", markup=False)
            return
        self._clipboard = text
        if self._driver is not None:
            self._driver.write(sequence)
        if os.environ.get("TMUX"):
            self.background("copying to tmux", lambda: clipboard.to_tmux(text))
        told = f"copied {len(text):,} characters ({what})"
        if not self._copied:
            told += "\nIf nothing arrives, your terminal does not let programs set its clipboard (OSC 52)."
        self._copied = True
        self.notify(make_visible(told), markup=False)

    def open_in_pager(self, text: str) -> None:
        """Show text in $PAGER, else less, on the whole terminal; the run goes on behind it."""
        words = clipboard.pager()
        if words is None:
            self.notify("There is no pager: set $PAGER, or install less.", severity="warning", markup=False)
            return
        shown = make_visible(text).encode("utf-8", "replace")
        try:
            with self.suspend():
                code = self._page(words, shown)
        except SuspendNotSupported:
            self.notify("This terminal cannot be lent to a pager.", severity="warning", markup=False)
            return
        if code not in (0, None) and not self._hung_up:
            self.notify(f"{Path(words[0]).name} ended with code {code}.", severity="warning", markup=False)

    def _page(self, words: list[str], text: bytes) -> int | None:
        """Run the pager until it is closed, or until there is no terminal to close it on. Returns its exit code."""
        # Descriptors 1 and 2 are the log: the terminal is where Textual draws.
        terminal = sys.__stdout__.fileno() if sys.__stdout__ is not None else None
        try:
            pager = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=terminal, stderr=terminal)
        except OSError as error:
            return error.errno
        given: bytes | None = text
        while not self._hung_up:
            try:
                pager.communicate(given, timeout=PAGER_LOOK_S)
                return pager.returncode
            except subprocess.TimeoutExpired:
                given = None
        pager.kill()
        pager.wait()
        return None

    # -- the terminal is gone ----------------------------------------------------------------------------------------

    _hung_up = False

    def give_up_screen(self) -> None:
        """Leave the screen without closing the engine; called from another thread when the terminal is gone."""
        self._hung_up = True
        self.call_later(lambda: self.exit(self.state.state))
