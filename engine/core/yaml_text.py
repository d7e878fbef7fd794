"""YAML as a person wrote it: its values or its nodes, and each fault with its line and in one line of words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml


class YamlFault(ValueError):
    """What is wrong with a text; `line` counts from 1 and is 0 where it is not known."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(problem)
        self.line = line


def read_yaml(text: str) -> Any:
    """Plain values. Raises YamlFault."""
    return _tried(text, yaml.safe_load)


def compose_yaml(text: str) -> Any:
    """Nodes that know their lines. Raises YamlFault."""
    return _tried(text, lambda given: yaml.compose(given, Loader=yaml.SafeLoader))


def _tried(text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except yaml.reader.ReaderError as error:  # it knows the place and not the line
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise YamlFault(f"the character U+{code:04X} may not stand in YAML", line) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise YamlFault(getattr(error, "problem", None) or "not valid YAML", mark.line + 1 if mark else 0) from None
    except ValueError as error:  # a date such as 2026-13-45, or a number of thousands of digits
        raise YamlFault(str(error)) from None
    except RecursionError:
        raise YamlFault("brackets within brackets, too many of them") from None
