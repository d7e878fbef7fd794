"""Help made from the bindings that hold where it was asked for, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.marks import QUIET, lines, row
from tui.words.keys import PURPOSES

_LEGEND = (
    "✓ good  ✗ bad  ? unsure  ▶ going on  ‖ paused  ■ stopped  ● done  ○ to come  ◐ begun",
    "score: 0 is a critic's zero point, 1 its good anchors. Margins are in nats, positive is good.",
    "unaudited: the critic's audit does not let it filter; rules decide, its margins are stored.",
    "AUC 0.710 20+24: of 20 good and 24 bad items; it has to reach critics.min_auc on planted and on own items.",
)


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close", id="help.close", tooltip="Close help"),
    ]

    def __init__(self, commands: Iterable[tuple[str, str, str, str]]) -> None:
        """`commands` are (purpose, keys, name, what it does)."""
        super().__init__()
        self._commands = list(commands)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help", classes="panel") as panel:
            panel.border_title, panel.border_subtitle = "Keys that work here", "Esc closes"
            rows = []
            wide = max((len(keys) for _, keys, _, _ in self._commands), default=0)
            for title in PURPOSES:
                inside = [one for one in self._commands if one[0] == title]
                rows += [row((title, f"{QUIET} underline"))] if inside else []
                rows += [
                    row((f"{keys:>{wide}}  ", "bold $accent"), f"{name:<15} ", (about, QUIET))
                    for _, keys, name, about in inside
                ]
            yield Static(lines([*rows, Content(""), *(row((text, QUIET)) for text in _LEGEND)]), markup=False)
