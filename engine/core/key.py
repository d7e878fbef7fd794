"""The key of a reviewer's server: where it comes from, and what keeps it out of every row, file, log and error."""

from __future__ import annotations

import base64
import logging
import os
import re
import stat
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from engine.core.errors import ReviewError

ENVIRONMENT = "OPENAI_API_KEY"
HIDDEN = "[key]"
KEY_AT_MOST = 4096  # bytes of its file
_PIECE = 8  # of the key: a server that shows its first or last characters shows too much
_LOGGERS = (
    "openai",
    "httpx2",
    "httpcore2.connection",
    "httpcore2.http11",
    "httpcore2.http2",
    "httpcore2.proxy",
    "httpcore2.socks",
)


class Key:
    """A secret that prints as nothing, is never pickled, and finds itself in other texts."""

    __slots__ = ("_pieces", "_secret", "where")

    def __init__(self, secret: str, where: str) -> None:
        secret = secret.strip()
        if len(secret) < _PIECE or not re.fullmatch(r"[\x21-\x7e]+", secret):
            raise ReviewError(
                f"the key in {where} is none: at least {_PIECE} printable ASCII characters without blanks are wanted",
                "Nothing was sent. Correct it, or answer yourself.",
            )
        self._secret = secret
        self.where = where
        forms = [secret, urllib.parse.quote(secret, safe=""), secret.encode().hex()]
        # Base64 of a text that has the key at any offset: what stands between its changing ends.
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode()
            forms.append(encoded[4 if offset else 0 : -4])
        self._pieces = {form[n : n + _PIECE].lower() for form in forms for n in range(len(form) - _PIECE + 1)}

    def reveal(self) -> str:
        """The secret, for the one place that sends it."""
        return self._secret

    def scrub(self, text: str) -> str:
        """The text without the key and without any eight characters of it in a row, also encoded."""
        lowered = text.lower()
        if len(lowered) != len(text):  # a letter whose lower case is longer: places would not agree
            text = lowered
        marked: list[tuple[int, int]] = []
        for n in range(len(text) - _PIECE + 1):
            if lowered[n : n + _PIECE] in self._pieces:
                if marked and n <= marked[-1][1]:
                    marked[-1] = (marked[-1][0], n + _PIECE)
                else:
                    marked.append((n, n + _PIECE))
        for start, end in reversed(marked):
            text = text[:start] + HIDDEN + text[end:]
        return text

    def watch_logs(self) -> None:
        """Have the loggers of the libraries that send the key scrub what they write, from now on."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._scrub_record)

    def _scrub_record(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.scrub(record.getMessage()), None
        record.exc_info, record.exc_text = None, None
        return True

    def __repr__(self) -> str:
        return "Key(hidden)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not written anywhere")


def find_key(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Key | None:
    """The key from the environment, else from the file at `path`; None where there is neither.

    Raises ReviewError for a file that others can read, that is no file, that cannot be read or holds no key. The error
    names the place, never what stands in it.
    """
    given = (os.environ if environment is None else environment).get(ENVIRONMENT, "")
    if given.strip():
        return Key(given, f"the environment variable {ENVIRONMENT}")
    if path is None:
        return None
    path = Path(path).expanduser()
    try:
        raw = read_private(path, KEY_AT_MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReviewError(f"the key file {path} cannot be read: {error.strerror}", "Nothing was sent.") from None
    except ValueError as error:
        raise ReviewError(f"the key file {path} {error}", f"Nothing was sent. Use: chmod 600 {path}") from None
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    return Key(text, f"the file {path}")


def read_private(path: Path, most: int) -> bytes:
    """What a file holds that only its owner can read. Raises OSError; ValueError, which says what is wrong with it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is no file")
        if found.st_mode & 0o077:
            raise ValueError(f"can be read by others (mode {stat.S_IMODE(found.st_mode):04o})")
        if found.st_size > most:
            raise ValueError("is too long for what it should hold")
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def scrub_deep(value: Any, key: Key | None) -> Any:
    """Plain values with the key taken out of every text in them."""
    if key is None:
        return value
    if isinstance(value, str):
        return key.scrub(value)
    if isinstance(value, Mapping):
        return {name: scrub_deep(item, key) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub_deep(item, key) for item in value]
    return value
