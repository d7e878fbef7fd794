"""How keys are written, everywhere in one way, and what the commands on them are for."""

from __future__ import annotations

_NAMES = {
    "question_mark": "?", "slash": "/", "comma": ",", "plus": "+", "minus": "-", "left_square_bracket": "[",
    "right_square_bracket": "]", "pagedown": "PgDn", "pageup": "PgUp", "escape": "Esc", "up": "↑", "down": "↓",
    "left": "←", "right": "→",
}  # fmt: skip

HERE, LISTED, LABELS, MOVING, RUN, ROOMS, PROGRAM = (
    "In this room", "What is listed", "Labels", "Moving", "The run", "Rooms", "The program",
)  # fmt: skip
PURPOSES = (HERE, LISTED, LABELS, MOVING, RUN, ROOMS, PROGRAM)  # in the order in which help tells them
_BY_LAST = {
    LISTED: "accepted rejected unsure every flagged split labelled margin where clear order turn source view "
    "view_before level",
    LABELS: "good bad doubt undo queue refit note blind",
    MOVING: "down up next previous first last left right far_left far_right newest leaf leaf_up read phase_next "
    "phase_previous sample_next sample_previous follow back step_back step_on",
    RUN: "start pause resume stop focus",
    PROGRAM: "search help quit interrupt settings close",
}
_PURPOSE = {name: purpose for purpose, names in _BY_LAST.items() for name in names.split()}


def key_name(key: str) -> str:
    """A key as it stands on a keyboard, with those that are held: `ctrl+c` is Ctrl+C, `escape` is Esc, `G` is G."""
    *held, last = key.split("+") if key != "+" else ["+"]
    name = _NAMES.get(last, last.capitalize() if len(last) > 1 else last.upper() if held else last)
    return "+".join([*(part.capitalize() for part in held), name.replace("_", " ")])


def purpose(binding_id: str) -> str:
    """What a command is for, by the id of its binding."""
    room, _, last = binding_id.rpartition(".")
    if not binding_id:  # Textual's own
        return PROGRAM
    return ROOMS if room == "room" else _PURPOSE.get(last, HERE)
