"""What level a line of the log has, judged by how libraries write: logging, warnings, tracebacks, C++ prefixes."""

from __future__ import annotations

import re

LEVELS = ("info", "warning", "error", "part")  # part: the line that begins one process's share of the log

_PART = re.compile(r"^--- \d{4}-\d{2}-\d{2} ")
_ERROR = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL|FAILED)\b|\b\w*(?:Error|Exception)\b\s*:|^Traceback \(most recent call last\)"
    r"|^Fatal Python error|^\[?E\d{0,4}[ \]:]|\bCUDA error\b|\bNCCL error\b|\bSegmentation fault\b|\bcore dumped\b"
    r"|\bout of memory\b",
    re.IGNORECASE,
)
_WARNING = re.compile(r"\bWARN(?:ING)?\b|\b\w*Warning\b|^\[?W\d{0,4}[ \]:]|\bdeprecated\b|^nanobind: ", re.IGNORECASE)
_TRACE_HEAD = "Traceback (most recent call last)"


class Leveller:
    """Gives each line its level in turn: the lines of a traceback belong to its error."""

    def __init__(self) -> None:
        self._in_trace = False

    def level(self, line: str) -> str:
        if self._in_trace:
            if line[:1] in (" ", "\t", ""):
                return "error"
            self._in_trace = False
            return "error"  # the line that names the exception
        if line.startswith(_TRACE_HEAD):
            self._in_trace = True
            return "error"
        if _PART.match(line):
            return "part"
        if _ERROR.search(line):
            return "error"
        return "warning" if _WARNING.search(line) else "info"
