"""The parsers of commands: what several commands take, and how a value is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from engine.core.errors import UsageError
from store.names import LARGEST_SEED, MOST
from tui.host.terminal import NO_TMUX, Terminal

Command = Callable[[argparse.Namespace, Terminal], int]

JSON = "one JSON object on stdout, everything else on stderr"
SHOWN = 40  # characters of a wrong value that are repeated


class Parser(argparse.ArgumentParser):
    """A parser whose errors are this program's own, and name what was probably meant."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see: {self.prog} --help")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """As argparse has it; what a command does not know is an error of that command's own."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = did_you_mean(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices or ()))
            raise


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" for the nearest of the known words, nothing where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


class Commands:
    """The commands under a parser, in the order in which they are added."""

    def __init__(self, above: argparse.ArgumentParser) -> None:
        self.above = above
        self._found = above.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def add(self, name: str, action: Command, about: str, *, with_json: bool = True) -> argparse.ArgumentParser:
        own = self._found.add_parser(name, help=about, description=about, allow_abbrev=False)
        own.set_defaults(action=action)
        own.add_argument("--store", metavar="PATH", default=argparse.SUPPRESS, help="the DuckDB file")
        own.add_argument(NO_TMUX, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if with_json:
            own.add_argument("--json", action="store_true", help=JSON)
        return own


def add_run(own: argparse.ArgumentParser) -> None:
    own.add_argument("run", nargs="?", metavar="RUN", help="id, or the beginning of it (default: the latest)")


def add_set(own: argparse.ArgumentParser, about: str = "change a setting of the spec") -> None:
    own.add_argument("--set", action="append", type=setting, metavar="KEY=VALUE", help=about)


def add_budget(own: argparse.ArgumentParser) -> None:
    own.add_argument(
        "--budget", type=dollars, metavar="USD", help="raise what all runs of the store may cost, with a --reason"
    )
    own.add_argument("--reason", metavar="TEXT", help="why; it is kept with the decision")


def add_batch_size(own: argparse.ArgumentParser, about: str = "rows on the device at once") -> None:
    own.add_argument("--batch-size", type=positive, metavar="N", help=about)


def add_headless(own: argparse.ArgumentParser) -> None:
    own.add_argument("--headless", action="store_true", help="print progress instead of opening the control center")


def add_out(own: argparse.ArgumentParser) -> None:
    own.add_argument("--out", required=True, metavar="DIR", help="a folder that is not there yet")


def setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key.strip(), value


def reader_name(text: str) -> str:
    if not text.strip() or text != text.strip() or not text.isprintable() or len(text) > SHOWN:
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]!r} is not a name of at most {SHOWN} characters")
    return text


def positive(text: str) -> int:
    return _whole(text, 1, MOST, f"a whole number from 1 to {MOST:,}")


def seed(text: str) -> int:
    return _whole(text, -LARGEST_SEED - 1, LARGEST_SEED, "a whole number of at most 64 bits")


def count(text: str) -> int:
    return _whole(text, 0, MOST, f"a whole number from 0 to {MOST:,}")


def _whole(text: str, least: int, most: int, what: str) -> int:
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdigit() and len(digits) <= len(str(most))
    if not plain or not least <= int(text) <= most:
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        raise argparse.ArgumentTypeError(f"{shown!r} is not {what}")
    return int(text)


def share(text: str) -> float:
    return _number(text, lambda value: 0 < value <= 1, "a share above 0 and at most 1")


def part(text: str) -> tuple[int, int]:
    """K/N: which part of how many."""
    which, _, of = text.partition("/")
    try:
        found = positive(which), positive(of)
    except argparse.ArgumentTypeError:
        found = 1, 0
    if found[0] > found[1]:
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]!r} is not K/N such as 1/8")
    return found


def dollars(text: str) -> float:
    return _number(text, lambda value: 0 < value < 1e9, "an amount of dollars", prefix="$")


def seconds(text: str) -> float:
    return _number(text, lambda value: 0 < value < 86_400, "a number of seconds")


def _number(text: str, fits: Callable[[float], bool], what: str, *, prefix: str = "") -> float:
    try:
        value = float(text.removeprefix(prefix))
    except ValueError:
        value = 0.0
    if not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value
