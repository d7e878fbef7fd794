"""Themes that can be read, and keymaps that are complete."""

from __future__ import annotations

from typing import Any

import pytest
from textual.color import Color

from tui.app import keymap, themes

TEXT = (
    "foreground",
    "foreground-muted",
    "text-muted",
    "text-success",
    "text-error",
    "text-warning",
    "text-accent",
    "accent",
)


@pytest.mark.parametrize("theme", themes.THEMES, ids=lambda theme: theme.name)
def test_text_is_readable_on_every_ground_and_on_the_cursor(theme: Any) -> None:
    colours = theme.to_color_system().generate() | theme.variables
    background = Color.parse(colours["background"])
    cursor = background + Color.parse(colours["primary"]).with_alpha(0.4)
    grounds = {"background": background, "surface": Color.parse(colours["surface"]), "cursor": cursor}
    poor = {
        (token, name): round(themes.contrast(Color.parse(colours[token]), ground), 2)
        for token in TEXT
        for name, ground in grounds.items()
        if themes.contrast(Color.parse(colours[token]), ground) < themes.READS_WELL
    }
    assert not poor
    lines = [themes.contrast(Color.parse(colours[token]), background) for token in ("success", "error", "warning")]
    assert min(lines) >= 3  # WCAG 2.2, 1.4.11: what is no text
    assert themes.contrast(cursor, background) >= themes.STANDS_OUT


def test_the_safe_theme_uses_no_green_against_red() -> None:
    """Seen without the red-green axis (Machado 2009, deuteranopia, severity 1), good and bad stay far apart."""
    matrix = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))

    def seen(colour: str) -> list[float]:
        rgb = Color.parse(colour).normalized
        return [sum(weight * part for weight, part in zip(row, rgb, strict=True)) for row in matrix]

    colours = themes.SAFE.to_color_system().generate()
    good, bad = seen(colours["text-success"]), seen(colours["text-error"])
    assert sum((one - other) ** 2 for one, other in zip(good, bad, strict=True)) ** 0.5 > 0.3


# -- keys ----------------------------------------------------------------------------------------------------------------

KNOWN = [
    keymap.BoundKey("run.pause", "p", ""),
    keymap.BoundKey("run.resume", "p", ""),
    keymap.BoundKey("run.stop", "s", ""),
    keymap.BoundKey("samples.unsure", "u", "SamplesRoom"),
    keymap.BoundKey("table.down", "down", "Table"),
    keymap.BoundKey("table.down", "j", "Table"),
    keymap.BoundKey("fork.start", "f2", "ForkScreen", alone=True),
]


def test_a_keymap_keeps_the_others_on_the_same_key() -> None:
    assert keymap.complete({"run.pause": "f5, ?"}, KNOWN) == (
        {"run.pause": "f5,question_mark", "run.resume": "p"},
        [],
    )
    assert keymap.complete({"run.pause": "x", "run.resume": "x"}, KNOWN)[1] == []
    assert keymap.complete({"run.stop": "f2"}, KNOWN)[1] == []  # that screen lets none of the app's keys through
    assert keymap.complete({"table.down": "n"}, KNOWN) == ({"table.down": "n"}, [])


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"run.puase": "x"}, ("no binding 'run.puase'", "nearest is 'run.pause'")),
        ({"run.pause": "crtl+x"}, ("'crtl+x' is no key", "nearest is 'ctrl+x'")),
        ({"run.stop": "f77"}, ("'f77' is no key",)),
        ({"run.stop": "p"}, ("'p' is run.stop and run.pause",)),
        ({"run.stop": "u"}, ("samples.unsure wins over run.stop",)),
    ],
)
def test_wrong_names_keys_and_clashes_are_said(wanted: dict[str, str], words: tuple[str, ...]) -> None:
    problems = keymap.complete(wanted, KNOWN)[1]
    assert problems
    for word in words:
        assert word in problems[0]


def test_every_binding_of_the_program_is_known() -> None:
    ids = {place.id for place in keymap.places()}
    assert {"room.samples", "run.pause", "settings", "samples.accepted", "help.close", "settings.reset"} <= ids
    assert all(keymap.is_key(place.key) for place in keymap.places())
