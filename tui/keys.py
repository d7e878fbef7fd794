"""The keys of the control center, and when each of them applies."""

from __future__ import annotations

from textual.binding import Binding

from tui.state import RunState

KEYS = (
    Binding("1", "room('run')", "Run", id="room.run", tooltip="Phases, acceptance, margins, guard, events"),
    Binding("2", "room('samples')", "Samples", id="room.samples", tooltip="Every sample and what made it"),
    Binding("3", "room('gate')", "Gate", id="room.gate", tooltip="The QC checks with their evidence"),
    Binding("4", "room('log')", "Log", id="room.log", tooltip="What libraries printed"),
    Binding("enter", "start", "Start", id="run.start", tooltip="Start a pilot with the default spec"),
    Binding("p", "pause", "Pause", id="run.pause", tooltip="Pause after the batch under way"),
    Binding("p", "resume", "Resume", id="run.resume", tooltip="Go on with the paused run"),
    Binding("s", "stop", "Stop", id="run.stop", tooltip="Finish the batch and stop; asks first"),
    Binding("c", "critic", "Critic", id="run.critic", tooltip="Show the margins of the next critic"),
    Binding("g", "question", "Answer", id="question.focus", tooltip="Go to the open question"),
    Binding("slash", "search", "Search", key_display="/", id="search", tooltip="Search in the samples or the log"),
    Binding("question_mark", "help", "Help", key_display="?", id="help", tooltip="The keys that work here"),
    Binding("q", "leave", "Quit", id="quit", tooltip="Leave; asks while a run is going on"),
    Binding("ctrl+c", "leave", "Quit", id="interrupt", show=False, priority=True, tooltip="Leave; asks first"),
)


def applies(action: str, state: RunState, room: str, *, can_start: bool, open_question: bool) -> bool:
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
            return room in ("samples", "log")
        case "critic":
            return room == "run" and len(state.critics) > 1
        case "question":
            return open_question
    return True
