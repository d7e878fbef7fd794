"""Text that others wrote with nothing hidden in it, and nothing that looks like a secret: what all faces begin with."""

from __future__ import annotations

import re

from store.inert.signs import TAB as TAB
from store.inert.signs import Signs as Signs
from store.inert.signs import fenced as fenced
from store.inert.signs import flat as flat
from store.inert.signs import visible as visible

REMOVED = "[removed: looks like a secret]"
_TOKEN = (
    r"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{16}"
    r"|AIza[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
)
_BEARER = r"(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{16,}=*"
_PRIVATE = r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
_SECRET = re.compile(rf"{_PRIVATE}|{_TOKEN}")
_SECRET_TO_ITS_END = re.compile(rf"{_PRIVATE}.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)|{_TOKEN}|{_BEARER}", re.DOTALL)


def without_secrets(text: str) -> str:
    """The text with whatever has the form of a key or a token taken out; of a private key the line that begins it."""
    return _SECRET.sub(REMOVED, text)


def secrets_taken(text: str) -> tuple[str, int]:
    """The same, a private key to its end and what a header names a bearer taken out, too, and how many there were."""
    return _SECRET_TO_ITS_END.subn(REMOVED, text)
