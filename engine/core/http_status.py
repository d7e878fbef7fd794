"""What a model server's status means: an answer, another try, or no."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from engine.core.key import Key
from engine.core.retry import LONGEST_ASKED_S, retry_after
from engine.core.text import flat

BUSY = (429, 503)
TRY_AGAIN = (408, 409, 425)


class Again(Exception):
    """A try that brought nothing, where another may.

    `status` is 0 where the connection failed. `wait_s` is how long the server wants to be left alone, where it says so.
    """

    def __init__(self, said: str, *, status: int = 0, wait_s: float | None = None) -> None:
        super().__init__(said)
        self.said, self.status, self.wait_s = said, status, wait_s

    @property
    def gone(self) -> bool:
        """Whether the server could not be reached."""
        return self.status == 0

    @property
    def busy(self) -> bool:
        """Whether the server only wants to be asked later."""
        return self.status in BUSY


class Refused(Exception):
    """What the server will not do, however often it is asked."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.status, self.said = status, said


def read_body(status: int, headers: Mapping[str, str], text: str, key: Key | None, now: datetime) -> dict[str, Any]:
    """The object in an answer; {} where it has none. Raises Again or Refused, with no key in what they say."""
    if status < 300:
        if key is not None and key.reveal() in text:
            raise Refused(status, "the answer shows the key it was asked with")
        if not text.strip() or "json" not in headers.get("content-type", ""):
            return {}
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise Again("what came is not whole", status=status) from None
        if not isinstance(found, dict):
            raise Again("what came is no object", status=status)
        return found
    said = flat(message_in(text) if key is None else key.scrub(message_in(text)), 300)
    if status in BUSY:
        wait = retry_after(headers.get("retry-after"), now)
        if wait is not None and wait > LONGEST_ASKED_S:
            said, wait = f"{said} (it asks for {wait:.0f} s before the next request)", LONGEST_ASKED_S
        raise Again(f"{status}: {said}", status=status, wait_s=wait)
    if status >= 500 or status in TRY_AGAIN:
        raise Again(f"{status}: {said}", status=status)
    raise Refused(status, said)


def message_in(text: str) -> str:
    """The message of an error in the forms that servers use."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(found, dict):
        return text
    inner = found.get("error", found.get("detail", found.get("message", text)))
    if isinstance(inner, dict):
        inner = inner.get("message", inner)
    return inner if isinstance(inner, str) else json.dumps(inner)
