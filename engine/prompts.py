"""Every prompt the program ever sends, and the rules that trim what comes back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MARKER = "###"
RESPONSE_STOPS = (f"\n{MARKER}", MARKER, "\nInstruction:")
LIST_HEADER = (
    "Below is a numbered list of varied tasks for a writing assistant. Each task is one sentence, complete in itself, "
    "and can be answered in a few sentences without any other text.\n\n"
)
GRADE_GOOD, GRADE_BAD = " good", " bad"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and how many of its first characters it shares with others of its kind."""

    text: str
    shared: int


def instruction_list(examples: Sequence[str], opening: str = "") -> Prompt:
    """A numbered list of instructions left open after its next number; `opening` is the word that it goes on with."""
    lines = [f"{number}. {text}\n" for number, text in enumerate(examples, 1)]
    start = f"{len(examples) + 1}." + (f" {opening}" if opening else "")
    return Prompt(LIST_HEADER + "".join(lines) + start, len(LIST_HEADER))


def response(examples: Sequence[tuple[str, str]], instruction: str) -> Prompt:
    """Solved examples, each ended by the marker, and one instruction whose response is left open."""
    shared = "".join(f"Instruction: {i}\nResponse: {r}\n{MARKER}\n" for i, r in examples)
    return Prompt(f"{shared}Instruction: {instruction}\nResponse:", len(shared))


def grade_instruction(examples: Sequence[tuple[str, str]], instruction: str) -> Prompt:
    """Instructions (text, label) with the question whether each is clear, and one whose answer is left open.

    Of six forms tried on the embedded model this one told planted instructions apart best (AUC 0.73, the others 0.60 to
    0.67).
    """
    question = "Is this a clear and complete instruction?"
    shared = "".join(f'"{text}"\n{question} {label}\n\n' for text, label in examples)
    return Prompt(f'{shared}"{instruction}"\n{question}', len(shared))


def grade_pair(examples: Sequence[tuple[str, str, str]], instruction: str, answer: str) -> Prompt:
    """Graded answers (instruction, response, label) and one whose grade is left open."""
    shared = (
        "Each answer below is graded. Grade good: it does the task, is correct and complete. Grade bad: it is off the "
        "topic, wrong, cut off, repeats itself or makes no sense.\n\n"
    ) + "".join(f"Task: {i}\nAnswer: {r}\nGrade: {label}\n\n" for i, r, label in examples)
    return Prompt(f"{shared}Task: {instruction}\nAnswer: {answer}\nGrade:", len(shared))


def plain_pair(instruction: str) -> Prompt:
    """An instruction with its response left open and no examples."""
    return Prompt(f"Instruction: {instruction}\nResponse:", 0)


@dataclass(frozen=True, slots=True)
class Trim:
    """Characters [start, end) of the raw text that a rule removed."""

    rule: str
    start: int
    end: int


_SECOND_TURN = re.compile(r"\n\s*(?:Instruction|Task|Question|Response|Answer)\s*:")
_MARKER_TAIL = re.compile(r"\s*#{1,}\s*\Z")
_MARKER_ANYWHERE = re.compile(rf"\s*{MARKER}")


def clean_response(raw: str) -> tuple[str, list[Trim]]:
    """The kept text and what was removed: white space around it, a marker and what follows, a second turn."""
    trims: list[Trim] = []
    end = len(raw)
    for rule, pattern in (("marker", _MARKER_ANYWHERE), ("second turn", _SECOND_TURN), ("marker", _MARKER_TAIL)):
        if found := pattern.search(raw, 0, end):
            trims.append(Trim(rule, found.start(), end))
            end = found.start()
    kept = raw[:end]
    tail = len(kept) - len(kept.rstrip())
    if tail:
        trims.append(Trim("space", end - tail, end))
    head = len(kept) - len(kept.lstrip())
    if head and head < end:
        trims.append(Trim("space", 0, head))
    return kept.strip(), sorted(trims, key=lambda trim: trim.start)


_NUMBERED = re.compile(r"\s*(\d{1,4})[.)]\s+(.*\S)\s*\Z")


def parse_list(text: str, opening: str, first: int, cut_off: bool) -> list[tuple[int, str, bool]]:
    """Items of an open numbered list: (line number from 0, text, whether its line had the expected form).

    The first line continues the number that the prompt ended with. `cut_off` says that the token limit ended the text,
    and then the last line is dropped, as nobody knows how it goes on.
    """
    lines = text.split("\n")
    if cut_off:
        lines = lines[:-1]
    items: list[tuple[int, str, bool]] = []
    expected = first
    for number, line in enumerate(lines):
        if number == 0:
            items.append((0, f"{opening}{line}".strip(), True))
            expected += 1
            continue
        if not line.strip():
            continue
        found = _NUMBERED.match(line)
        regular = bool(found) and int(found.group(1)) == expected  # type: ignore[union-attr]
        items.append((number, found.group(2) if found else line.strip(), regular))
        expected += 1
    return items
