"""A form for a run like another one: every setting with its value, what is changed stands out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.text import one_line
from tui.widgets.marks import QUIET, row


class ForkScreen(ModalScreen[dict[str, str] | None]):
    """Returns the changes, {key: value as typed}, or None where it was left."""

    DEFAULT_CSS = """
    ForkScreen { align: center middle; background: $background 60%; }
    #fork { width: 90%; max-width: 110; height: 90%; background: $background; }
    #fork-filter, #fork-value { height: 1; border: none; padding: 0 1; background: $surface; }
    #fork-list { height: 1fr; border: none; padding: 0; background: $background; }
    #fork-told { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="fork.back", priority=True, tooltip="Leave the value, then the form"),
        Binding("f2", "start", "Start", id="fork.start", priority=True, tooltip="Start the run with these changes"),
        Binding("down", "to_list", "List", id="fork.list", show=False, tooltip="Into the list of settings"),
    ]

    def __init__(self, run_id: str, settings: Mapping[str, str]) -> None:
        super().__init__()
        self._run_id = run_id
        self._settings = dict(settings)
        self._changes: dict[str, str] = {}
        self._keys: list[str] = []
        self._editing = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="fork", classes="panel") as panel:
            panel.border_title = Content(f"A run like {self._run_id}, but …")
            panel.border_subtitle = "type to find · Enter changes · F2 starts · Esc back"
            yield Input(placeholder="find a setting", id="fork-filter")
            yield OptionList(id="fork-list", markup=False)
            yield Input(id="fork-value")
            yield Static(id="fork-told", markup=False)

    def on_mount(self) -> None:
        self.query_one("#fork-value").display = False
        self._fill()
        self.query_one("#fork-filter").focus()

    def _fill(self) -> None:
        wanted = self.query_one("#fork-filter", Input).value.casefold()
        self._keys = [key for key in self._settings if wanted in key.casefold()]
        box = self.query_one("#fork-list", OptionList)
        at = box.highlighted
        box.clear_options()
        box.add_options([Option(self._line(key)) for key in self._keys])
        box.highlighted = min(at or 0, len(self._keys) - 1) if self._keys else None
        told = f"{len(self._changes)} changed" if self._changes else "nothing changed yet: the same run again"
        self.query_one("#fork-told", Static).update(row((told, QUIET)))

    def _line(self, key: str) -> Content:
        if key in self._changes:
            change = f"{one_line(self._settings[key], 30)} → {one_line(self._changes[key], 30)}"
            return row((f"● {key:<40} ", "bold $text-warning"), (change, "bold"))
        return row(f"  {key:<40} ", (one_line(self._settings[key], 50), QUIET))

    @on(Input.Changed, "#fork-filter")
    def narrow(self) -> None:
        self._fill()

    @on(Input.Submitted, "#fork-filter")
    def action_to_list(self) -> None:
        self.query_one("#fork-list").focus()

    @on(OptionList.OptionSelected)
    def edit(self, event: OptionList.OptionSelected) -> None:
        self._editing = self._keys[event.option_index]
        box = self.query_one("#fork-value", Input)
        box.placeholder = f"{self._editing} (was {one_line(self._settings[self._editing], 40)}); Enter takes it"
        box.value = self._changes.get(self._editing, self._settings[self._editing])
        box.display = True
        box.focus()

    @on(Input.Submitted, "#fork-value")
    def take(self, event: Input.Submitted) -> None:
        value = event.value.strip()
        if value == self._settings[self._editing]:
            self._changes.pop(self._editing, None)
        else:
            self._changes[self._editing] = value
        self._close_value()
        self._fill()

    def _close_value(self) -> None:
        self.query_one("#fork-value").display = False
        self.query_one("#fork-list").focus()

    def action_back(self) -> None:
        if self.query_one("#fork-value").display:
            self._close_value()
        else:
            self.dismiss(None)

    def action_start(self) -> None:
        self.dismiss(dict(self._changes))
