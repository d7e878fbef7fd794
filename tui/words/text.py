"""Text that a model wrote, made inert: nothing in it can move the cursor, change the title or hide what it says."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from engine.core.text import TAB, Signs
from store.text import json_ready

_MARKS_KEPT = 3  # Vietnamese needs two on a letter; a tower of forty paints over the lines above
_LINES = Signs({0x0A: "\n", 0x09: TAB, 0x7F: "␡"})
_LINE = Signs({0x0A: "↵", 0x09: " ", 0x7F: "␡"})


def make_visible(text: str, *, limit: int | None = None) -> str:
    """The text with every control, bidirectional, zero-width and unassigned character shown as a visible sign.

    Line ends stay (a CR LF counts as one), tabs become spaces. With a `limit` the rest is cut, and the cut says how
    much is missing.
    """
    cut = ""
    if limit is not None and len(text) > limit:
        cut = f"… (+{len(text) - limit:,} characters)"
        text = text[:limit]
    return _bound_marks(text.replace("\r\n", "\n").translate(_LINES)) + cut


def one_line(text: str, limit: int = 200) -> str:
    """The same for a table cell: a single line, ends shown as ↵, cut to `limit` characters."""
    shown = _bound_marks(text[: limit + 1].replace("\r\n", "\n").translate(_LINE))
    return shown if len(shown) <= limit and len(text) <= limit + 1 else shown[: limit - 1] + "…"


def _bound_marks(text: str) -> str:
    """At most three combining marks on a character."""
    if text.isascii():
        return text
    out: list[str] = []
    run = 0
    for char in text:
        if char > "\u02ff" and unicodedata.category(char) in ("Mn", "Me"):
            run += 1
            if run == _MARKS_KEPT + 1:
                out.append("⟨marks⟩")
            if run > _MARKS_KEPT:
                continue
        else:
            run = 0
        out.append(char)
    return "".join(out)


def as_json(sample: Mapping[str, Any]) -> str:
    """One object with all that the store knows of the sample; ASCII only, so that it is inert wherever it is pasted."""
    return json.dumps(json_ready(dict(sample)), indent=2, default=str)


def as_text(sample: Mapping[str, Any]) -> str:
    """What a person reads, with control characters made visible."""
    label = sample["person_label"] or {}
    parts = [
        f"sample {sample['sample_id']}",
        f"verdict {sample['verdict'] or 'pending'}: {sample['reason'] or ''}",
        f"flags {', '.join(sample['flags'] or ()) or 'none'}",
        *([f"your label {label['label']}: {label['note']}"] if label else []),
        *(f"{item['critic']} {item['score']:+.3f} ({item['margin_nats']:+.3f} nats)" for item in sample["judgements"]),
        f"\nInstruction\n{sample['instruction']}",
        f"\nResponse\n{sample['response']}",
        f"\nPrompt\n{sample['prompt']}",
        f"\nseed {sample['seed']}  request {sample['request_id']}  model {sample['fingerprint']}",
    ]
    return make_visible("\n".join(parts)) + "\n"


_PART = re.compile(r"^--- \d{4}-\d{2}-\d{2} ")
_ERROR = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|FAILED)\b|\b\w*(?:Error|Exception)\b\s*:|^Traceback \(most recent call last\)"
    r"|^Fatal Python error|^\[?E\d{0,4}[ \]:]|\bCUDA error\b|\bNCCL error\b|\bSegmentation fault\b|\bcore dumped\b"
    r"|\bout of memory\b",
    re.IGNORECASE,
)
_WARNING = re.compile(r"\bWARN(?:ING)?\b|\b\w*Warning\b|^\[?W\d{0,4}[ \]:]|\bdeprecated\b|^nanobind: ", re.IGNORECASE)


class Leveller:
    """Gives each line its level in turn: info, warning, error, or part where a process's share of the log begins.

    The lines of a traceback belong to its error.
    """

    def __init__(self) -> None:
        self._in_trace = False

    def level(self, line: str) -> str:
        if self._in_trace:
            if line[:1] in (" ", "\t", ""):
                return "error"
            self._in_trace = False
            return "error"  # the line that names the exception
        if line.startswith("Traceback (most recent call last)"):
            self._in_trace = True
            return "error"
        if _PART.match(line):
            return "part"
        if _ERROR.search(line):
            return "error"
        return "warning" if _WARNING.search(line) else "info"
