"""Changing one setting in the file, with everything else left as the person wrote it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from tui.config.settings import Value, check

_HEAD = "# Settings of cai. `cai config` shows which of them are in force, and from where.\n"
_TABLE = re.compile(r"\s*\[")


class ConfigNotSaved(Exception):
    """The file could not be changed; it is as it was."""

    exit_code = 1

    def __init__(self, title: str, hint: str) -> None:
        super().__init__(title)
        self.title, self.hint = title, hint


def save(path: Path, name: str, value: Value) -> None:
    """Set one setting in the file, or take it out where `value` is None. Raises ConfigNotSaved.

    The new text is read back before it takes the old one's place: it must say the same as before but for this key.
    A link is followed, because many keep such files elsewhere.
    """
    if value is not None:
        check(name, value)
    path = path.resolve()
    before = _text_of(path)
    settings = _parsed(before, path)
    if settings.get(name) == value and type(settings.get(name)) is type(value):
        return
    wanted: dict[str, Any] = {key: held for key, held in settings.items() if key != name}
    if value is not None:
        wanted[name] = value
    text = changed(before or _HEAD, name, value)
    if _parsed_or_none(text) != wanted:
        raise ConfigNotSaved(
            f"{path} is written in a way that cannot be changed safely",
            f"Nothing was changed. Set {name} there by hand.",
        )
    try:
        _replace(path, text)
    except OSError as error:
        raise ConfigNotSaved(
            f"{path} cannot be written: {error.strerror or error}",
            "Nothing was changed. The setting holds until you leave.",
        ) from error


def changed(text: str, name: str, value: Value) -> str:
    """The text with one key above all tables set, added, or taken out where `value` is None."""
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    tables_begin = next((at for at, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    key = re.compile(rf"""(\s*(?:"{name}"|'{name}'|{name})\s*=\s*)(.*?)(\s*)$""", re.DOTALL)
    for at, line in enumerate(lines[:tables_begin]):
        if not (found := key.match(line)):
            continue
        if value is None:
            del lines[at]
        else:
            lines[at] = f"{found[1]}{toml(value)}{_comment(found[2])}{found[3] or end}"
        return "".join(lines)
    if value is None:
        return text
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    at = tables_begin
    while at and tables_begin < len(lines) and not lines[at - 1].strip():
        at -= 1  # the empty lines stay between the settings and the first table
    lines.insert(at, f"{name} = {toml(value)}{end}")
    return "".join(lines)


def toml(value: Value) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(rest: str) -> str:
    """The comment behind a value, with the space before it."""
    for at, char in enumerate(rest):
        if char == "#" and _parsed_or_none(f"x = {rest[:at]}") is not None:
            return rest[len(rest[:at].rstrip()) :]
    return ""


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigNotSaved(f"{path} cannot be read", f"Nothing was changed: {error}") from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    found = _parsed_or_none(text)
    if found is None:
        raise ConfigNotSaved(f"{path} is not TOML", "Nothing was changed. Mend the file first: cai config says where.")
    return found


def _parsed_or_none(text: str) -> dict[str, Any] | None:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _replace(path: Path, text: str) -> None:
    """Written aside, readable by its owner only, then renamed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
