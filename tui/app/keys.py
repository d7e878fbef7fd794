"""The keys of the control center, and when each of them applies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import ActiveBinding, Binding
from textual.dom import DOMNode

from tui.live.state import RunState
from tui.words.keys import key_name, purpose
from tui.words.places import PLACES

KEYS = (
    *(Binding(place.key, f"room('{place.name}')", place.title, id=f"room.{place.name}", show=False, tooltip=place.about)
      for place in PLACES),
    Binding("enter", "start", "Start", id="run.start", tooltip="Start a pilot with the default spec"),
    Binding("p", "pause", "Pause", id="run.pause", tooltip="Pause after the batch or step under way"),
    Binding("p", "resume", "Resume", id="run.resume", tooltip="Go on after the pause"),
    Binding("s", "stop", "Stop", id="run.stop", tooltip="Finish the batch or step and stop; asks first"),
    Binding("g", "question", "Answer", id="question.focus", tooltip="Go to the open question"),
    Binding("slash", "search", "Search", key_display="/", id="search", tooltip="Search in what this room lists"),
    Binding("question_mark", "help", "Help", key_display="?", id="help", tooltip="The keys that work here"),
    Binding("escape", "close_notice", "Close", id="notice.close", show=False, priority=True,
            tooltip="Close the notice of a problem; then what the room does with it"),
    Binding("q", "leave", "Quit", id="quit", tooltip="Leave; asks while a run is going on"),
    Binding("ctrl+c", "leave", "Quit", id="interrupt", show=False, priority=True,
            tooltip="Leave; asks while a run is going on"),
)  # fmt: skip


def applies(action: str, state: RunState, *, searches: bool, can_start: bool, open_question: bool) -> bool:
    """Whether a key does anything now; one that does not is hidden from footer, help and palette."""
    match action:
        case "start":
            return can_start
        case "pause":
            return state.state in ("running", "loading")
        case "resume":
            return state.state in ("paused", "pausing")
        case "stop":
            return state.active and state.state != "stopping"
        case "search":
            return searches
        case "question":
            return open_question
    return True


@dataclass
class Command:
    """What can be done here now, with every key that does it."""

    keys: str
    name: str
    about: str
    purpose: str
    action: str
    node: DOMNode


def shown_key(binding: Binding) -> str:
    return binding.key_display or key_name(binding.key)


def commands_of(active: Iterable[ActiveBinding]) -> list[Command]:
    """Each command once, in the order of the bindings; what has no tooltip is Textual's own, such as Scroll Left."""
    found: dict[tuple[str, str], Command] = {}
    for one in active:
        binding = one.binding
        if not (one.enabled and binding.description and one.tooltip):
            continue
        known = found.get((binding.description, one.tooltip))
        if known is None:
            told = (shown_key(binding), binding.description, one.tooltip, purpose(binding.id or ""))
            found[binding.description, one.tooltip] = Command(*told, binding.action, one.node)
        elif shown_key(binding) not in known.keys.split():
            known.keys += f" {shown_key(binding)}"
    return list(found.values())


PERSONAL_KEYS = (
    Binding("comma", "settings", "Settings", key_display=",", id="settings", show=False,
            tooltip="Theme, keys and defaults, and where each comes from"),
)  # fmt: skip
