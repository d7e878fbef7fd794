"""Every setting with its value and where that comes from; changed in place, saved to the file at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import var
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from tui.app.themes import known_themes
from tui.config import file
from tui.config.settings import (
    COMMAND_LINE,
    DEFAULT,
    ENVIRONMENT,
    FILE,
    SETTINGS,
    Config,
    Setting,
    Value,
    check,
    load,
    shown,
)
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.words.text import make_visible, one_line

_NAME_CELLS, _VALUE_CELLS = 20, 30
_ORIGIN_SHAPES = {DEFAULT: "·", FILE: "▪", ENVIRONMENT: "$", COMMAND_LINE: "›"}


class SettingsTable(Static, can_focus=True):
    """One line a setting; the cursor's line is marked by a shape and by its ground."""

    class Moved(Message):
        """Another setting is under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "step(1)", "Down", id="settings.down", show=False, tooltip="The next setting"),
        Binding("up,k", "step(-1)", "Up", id="settings.up", show=False, tooltip="The setting above"),
    ]
    DEFAULT_CSS = """
    SettingsTable { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    SettingsTable .settings--cursor { background: $primary 40%; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"settings--cursor"}
    cursor = var(0)

    def __init__(self) -> None:
        super().__init__(id="settings-list", markup=False)
        self._config: Config | None = None

    def show(self, config: Config) -> None:
        self._config = config
        self._draw()

    def watch_cursor(self) -> None:
        self._draw()
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        self._draw()

    def action_step(self, by: int) -> None:
        self.cursor = max(0, min(len(SETTINGS) - 1, self.cursor + by))

    def on_click(self, event: events.Click) -> None:
        if 0 <= event.y < len(SETTINGS):
            self.cursor = event.y

    def _draw(self) -> None:
        if self._config is not None:
            self.update(lines([self._line(at, setting, self._config) for at, setting in enumerate(SETTINGS)]))

    def _line(self, at: int, setting: Setting, config: Config) -> Content:
        origin = config.origin(setting.name)
        value_cells = max(10, min(_VALUE_CELLS, self.size.width - _NAME_CELLS - 20))
        value = one_line(shown(config.value(setting.name)), value_cells)
        where = {ENVIRONMENT: f"${setting.environment}", COMMAND_LINE: setting.option}.get(origin, origin)
        told = row(
            "▸ " if at == self.cursor else "  ",
            f"{setting.name:<{_NAME_CELLS}}",
            (f"{value:<{value_cells}}", QUIET if origin == DEFAULT else ""),
            (f" {_ORIGIN_SHAPES[origin]} {where}", QUIET),
        )
        if at == self.cursor:
            told = told.pad_right(max(0, self.size.width - told.cell_length))
            told = told.stylize(self.get_visual_style("settings--cursor"))
        return told


class SettingsScreen(ModalScreen[None]):
    """What is changed here holds at once, which `apply` sees to, and is in the file at once."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "change", "Change", id="settings.change", tooltip="Type a value, or take the next choice"),
        Binding("right,l", "choose(1)", "Next", id="settings.next",
                tooltip="The next choice, shown at once"),
        Binding("left,h", "choose(-1)", "Previous", id="settings.previous",
                tooltip="The choice before"),
        Binding("d,backspace", "reset", "Default", id="settings.reset", tooltip="Take the setting out of the file"),
        Binding("escape,comma,q", "close", "Close", id="settings.close", tooltip="Back to the room"),
    ]  # fmt: skip
    CSS = "SettingsScreen { align: center middle; background: $background 60%; }"
    DEFAULT_CSS = """
    #settings { width: 96%; max-width: 92; height: auto; max-height: 96%; border: round $accent; background: $surface;
                border-title-color: $text-accent; border-title-style: bold; border-subtitle-color: $text-muted;
                padding: 0 1; }
    #settings-body { height: auto; max-height: 1fr; }
    #settings-about { height: auto; margin: 1 0 0 0; }
    #settings-input { height: 1; border: none; padding: 0 1; background: $primary 25%; display: none; }
    #settings-input.-open { display: block; }
    #settings Footer { dock: none; background: $surface; }
    """

    def __init__(self, config: Config, apply: Callable[[Config], None]) -> None:
        super().__init__()
        self._config = config
        self._apply = apply
        self._told: tuple[str, str] = ("", "")

    def compose(self) -> ComposeResult:
        with Vertical(id="settings") as panel:
            panel.border_title = "Settings"
            panel.border_subtitle = Content(one_line(str(self._config.path), 70))
            with VerticalScroll(id="settings-body", can_focus=False):
                yield SettingsTable()
                yield Static(id="settings-about", markup=False)
            yield Input(id="settings-input", compact=True)
            yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(SettingsTable).show(self._config)
        self.query_one(SettingsTable).focus()
        self._describe()

    # -- the setting under the cursor --------------------------------------------------------------------------------

    @property
    def setting(self) -> Setting:
        return SETTINGS[self.query_one(SettingsTable).cursor]

    def on_settings_table_moved(self) -> None:
        self._close_input()
        self._told = ("", "")
        self._describe()
        self.refresh_bindings()

    def _describe(self) -> None:
        setting = self.setting
        rows = [row((setting.about, ""))]
        choices = self._choices(setting)
        if choices:
            names = "  ".join(shown(choice) for choice in choices[: len(setting.choices)])
            more = len(choices) - len(setting.choices)
            rows.append(row((f"{names}  and {more} more" if more else names, QUIET)))
        origin = self._config.origin(setting.name)
        if origin in (ENVIRONMENT, COMMAND_LINE):
            over = f"${setting.environment}" if origin == ENVIRONMENT else f"{setting.option} on the command line"
            rows.append(row(("! ", TONES["warn"]), f"{over} decides now; what you save here holds without it."))
        tone, text = self._told
        if text:
            rows.append(row(({"good": "✓ ", "bad": "✗ "}[tone], TONES[tone]), make_visible(text, limit=400)))
        rows += [row(("! ", TONES["warn"]), make_visible(text, limit=300)) for text in self._config.problems[:4]]
        self.query_one("#settings-about", Static).update(lines(rows))

    def _choices(self, setting: Setting) -> tuple[Value, ...]:
        return tuple(known_themes()) if setting.name == "theme" else setting.choices

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "choose" and self.is_mounted:
            return bool(self.setting.choices) and not self._typing
        return not self._typing if action in ("change", "reset") else True

    # -- changing it -------------------------------------------------------------------------------------------------

    def action_choose(self, by: int) -> None:
        setting = self.setting
        choices = self._choices(setting)
        now = self._config.value(setting.name)
        at = choices.index(now) + by if now in choices else 0
        self._save(choices[at % len(choices)])

    def action_change(self) -> None:
        setting = self.setting
        if setting.choices:
            self.action_choose(1)
            return
        value = self._config.value(setting.name)
        box = self.query_one("#settings-input", Input)
        box.value = "" if value is None else shown(value) if value != "" else ""
        box.placeholder = f"{setting.name}; Enter saves, Esc leaves it as it is"
        box.add_class("-open")
        box.focus()
        self.refresh_bindings()

    def action_reset(self) -> None:
        self._save(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        if self._save(text or None):
            self._close_input()

    def action_close(self) -> None:
        if self._typing:
            self._close_input()
        else:
            self.dismiss()

    @property
    def _typing(self) -> bool:
        return self.is_mounted and self.query_one("#settings-input").has_class("-open")

    def _close_input(self) -> None:
        if self._typing:
            self.query_one("#settings-input").remove_class("-open")
            self.query_one(SettingsTable).focus()
            self.refresh_bindings()

    def _save(self, given: object) -> bool:
        """Check a value, put it into the file (None takes it out) and let it hold at once; False where it is wrong."""
        setting = self.setting
        try:
            value = None if given is None else check(setting.name, given)
            file.save(self._config.path, setting.name, value)
        except (ValueError, file.ConfigNotSaved) as error:
            wrong = f"{given!r} was not saved: wanted {error}."
            self._told = ("bad", wrong if isinstance(error, ValueError) else f"{error.title}. {error.hint}")
            self._describe()
            return False
        before = self._config
        given = {item.name: before.value(item.name) for item in SETTINGS if before.origin(item.name) == COMMAND_LINE}
        self._config = load(given)
        self._apply(self._config)
        self._told = ("good", "the default holds again" if value is None else f"saved: {setting.name} = {shown(value)}")
        self.query_one(SettingsTable).show(self._config)
        self._describe()
        return True
