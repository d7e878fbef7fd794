"""Model text is inert."""

import time
import unicodedata

import pytest

from tui.words.text import make_visible, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("\x9b31m", "⟨U+009B⟩31m"),
        ("a\u202eb\u2066c", "a⟨U+202E⟩b⟨U+2066⟩c"),
        ("a\u200bb\u200d\ufeff", "a⟨U+200B⟩b⟨U+200D⟩⟨U+FEFF⟩"),
        ("x\U000e0041\ufe0f", "x⟨U+E0041⟩⟨U+FE0F⟩"),
        ("[red]x[/]", "[red]x[/]"),
        ("a\r\nb\rc\td", "a\nb␍c    d"),
        ("a\u2028b\x7f", "a⟨U+2028⟩b␡"),
        ("naïve 日本 e\u0301", "naïve 日本 e\u0301"),
        ("e" + "\u0301" * 40 + "z", "e" + "\u0301" * 3 + "⟨marks⟩z"),
    ],
)
def test_control_text_is_shown_not_obeyed(text: str, shown: str) -> None:
    assert make_visible(text) == shown


def test_nothing_invisible_is_left() -> None:
    everything = "".join(map(chr, range(0x3000))) + "\ud800"
    shown = make_visible(everything)
    hidden = {char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}
    assert not hidden


def test_long_line_is_cut_and_says_so() -> None:
    started = time.perf_counter()
    assert make_visible("é" * 100_000, limit=50) == "é" * 50 + "… (+99,950 characters)"
    assert len(one_line("\u200b" * 100_000, 80)) == 80
    make_visible("é\u202e" * 50_000)
    assert time.perf_counter() - started < 2


def test_one_line_has_no_line_end() -> None:
    assert one_line("a\nb\tc") == "a↵b c"
    assert one_line("abcdef", 5) == "abcd…"
    assert one_line("abcde", 5) == "abcde"
