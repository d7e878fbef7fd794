"""A form for a run like another one: every setting with its value, what is changed stands out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.widgets.marks import QUIET, TONES, row
from tui.words.text import make_visible, one_line

UNCHANGED = "nothing is changed yet: change at least one setting, such as the seed"


class ChoiceList(OptionList, can_focus=False):
    """The focus stays where the person types; the cursor here follows the arrow keys."""


class ForkScreen(ModalScreen[dict[str, str] | None]):
    """Returns the changes, {key: value as typed}, or None where it was left.

    `check` takes changes and returns what is wrong with them, "" where nothing is, or None where they change nothing.
    """

    DEFAULT_CSS = """
    ForkScreen { align: center middle; background: $background 60%; }
    #fork { width: 90%; max-width: 110; height: 90%; background: $background; }
    #fork-filter, #fork-value { height: 1; border: none; padding: 0 1; background: $surface; }
    #fork-list { height: 1fr; border: none; padding: 0; background: $background; }
    #fork-list > .option-list--option-highlighted { background: $primary 40%; color: $foreground; text-style: bold; }
    #fork-told { height: auto; max-height: 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="fork.back", priority=True, tooltip="Leave the value, then the form"),
        Binding("f2", "start", "Start", id="fork.start", priority=True, tooltip="Start the run with these changes"),
        Binding("down", "point(1)", "Next", id="fork.down", show=False, tooltip="The next setting"),
        Binding("up", "point(-1)", "Previous", id="fork.up", show=False, tooltip="The setting before"),
        Binding("pagedown", "point(10)", "Ten on", id="fork.ten_down", show=False, tooltip="Ten settings further"),
        Binding("pageup", "point(-10)", "Ten back", id="fork.ten_up", show=False, tooltip="Ten settings back"),
    ]

    def __init__(
        self, run_id: str, settings: Mapping[str, str], check: Callable[[Mapping[str, str]], str | None]
    ) -> None:
        super().__init__()
        self._run_id = run_id
        self._settings = dict(settings)
        self._check = check
        self._changes: dict[str, str] = {}
        self._keys: list[str] = []
        self._editing = ""
        self._impossible = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="fork", classes="panel") as panel:
            panel.border_title = Content(f"A run like {self._run_id}, but …")
            panel.border_subtitle = "type to find · Enter changes · F2 starts · Esc back"
            yield Input(placeholder="find a setting", id="fork-filter")
            yield ChoiceList(id="fork-list", markup=False)
            yield Input(id="fork-value")
            yield Static(id="fork-told", markup=False)

    def on_mount(self) -> None:
        self.query_one("#fork-value").display = False
        self._fill()
        self.set_focus(self.query_one("#fork-filter"))

    def forbid(self, why: str) -> None:
        """No run can be started like this one, whatever is changed."""
        self._impossible = why
        self._refuse(why)

    def _fill(self, at: int = 0) -> None:
        typed = self.query_one("#fork-filter", Input).value.strip()
        self._keys = [key for key in self._settings if typed.casefold() in key.casefold()]
        box = self.query_one(ChoiceList)
        box.clear_options()
        if self._keys:
            box.add_options([Option(self._line(key)) for key in self._keys])
            box.highlighted = max(0, min(at, len(self._keys) - 1))
        else:
            box.add_option(Option(f"  no setting matches {one_line(typed, 40)!r}", disabled=True))
        self._say()

    def _say(self) -> None:
        told = f"{len(self._changes)} changed; F2 starts the run" if self._changes else UNCHANGED
        if self._impossible:
            self._refuse(self._impossible)
        else:
            self.query_one("#fork-told", Static).update(row((told, QUIET)))

    def _refuse(self, why: str) -> None:
        told = row(("✗ ", TONES["bad"]), (make_visible(why, limit=600), "bold"))
        self.query_one("#fork-told", Static).update(told)

    def _line(self, key: str) -> Content:
        if key in self._changes:
            change = f"{one_line(self._settings[key], 30)} → {one_line(self._changes[key], 30)}"
            return row((f"● {key:<40} ", "bold $text-warning"), (change, "bold"))
        return row(f"  {key:<40} ", (one_line(self._settings[key], 50), QUIET))

    # -- finding -----------------------------------------------------------------------------------------------------

    @on(Input.Changed, "#fork-filter")
    def narrow(self) -> None:
        self._fill()

    def action_point(self, by: int) -> None:
        box = self.query_one(ChoiceList)
        if self._keys and not self._editing:
            box.highlighted = max(0, min(len(self._keys) - 1, (box.highlighted or 0) + by))

    async def on_key(self, event: events.Key) -> None:
        """What is typed while nothing has the focus, as after a click beside the fields, is a search."""
        if self.focused is None and event.is_printable and event.character:
            box = self.query_one("#fork-value" if self._editing else "#fork-filter", Input)
            self.set_focus(box)
            box.insert_text_at_cursor(event.character)

    # -- changing ----------------------------------------------------------------------------------------------------

    @on(Input.Submitted, "#fork-filter")
    def edit_found(self, event: Input.Submitted) -> None:
        event.stop()
        at = self.query_one(ChoiceList).highlighted
        if self._keys and at is not None:
            self._edit(self._keys[at])

    @on(OptionList.OptionSelected)
    def edit_clicked(self, event: OptionList.OptionSelected) -> None:
        if self._keys:
            self._edit(self._keys[event.option_index])

    def _edit(self, key: str) -> None:
        self._editing = key
        box = self.query_one("#fork-value", Input)
        box.placeholder = f"{key} (was {one_line(self._settings[key], 40)}); Enter takes it"
        box.value = self._changes.get(key, self._settings[key])
        box.display = True
        box.select_all()
        self.set_focus(box)
        told = f"{key}, was {one_line(self._settings[key], 60)}; Enter takes the value, Esc leaves it"
        self.query_one("#fork-told", Static).update(row((told, QUIET)))

    @on(Input.Submitted, "#fork-value")
    def take(self, event: Input.Submitted) -> None:
        """Take the value, or say at once why it cannot be one; back to the search, whose text the next key replaces."""
        event.stop()
        key, value = self._editing, event.value.strip()
        others = {name: typed for name, typed in self._changes.items() if name != key}
        if value == self._settings[key] or self._check({key: value}) is None:
            self._changes = others
        elif wrong := self._check({**others, key: value}):
            self._refuse(wrong)
            return
        else:
            self._changes[key] = value
        self._close_value()

    def _close_value(self) -> None:
        self._editing = ""
        self.query_one("#fork-value").display = False
        box = self.query_one("#fork-filter", Input)
        box.select_all()
        self.set_focus(box)
        self._fill(self.query_one(ChoiceList).highlighted or 0)

    def action_back(self) -> None:
        if self._editing:
            self._close_value()
        else:
            self.dismiss(None)

    def action_start(self) -> None:
        if self._editing:
            self._refuse("Enter takes the value first, or Esc leaves it.")
        elif self._impossible or not self._changes:
            self._refuse(self._impossible or UNCHANGED)
        else:
            self.dismiss(dict(self._changes))
