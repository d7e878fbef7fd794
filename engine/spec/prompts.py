"""Every prompt the program ever sends, and the rules that trim what comes back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MARKER = "###"
RESPONSE_STOPS = (f"\n{MARKER}", MARKER, "\nInstruction:")
_COMPLETE = "complete in itself, and can be answered in a few sentences without any other text.\n\n"
LIST_HEADERS = {
    "explicit": "Below is a numbered list of varied tasks for a writing assistant. Each task is one sentence, ",
    "implicit": "Below is a numbered list of varied things that people say to a helpful assistant: questions, "
    "unfinished sentences and remarks that want a reply. Each is one or two sentences, ",
    "generation": "Below is a numbered list of varied tasks that ask a writing assistant for something new. Each is ",
    "evaluation": "Below is a numbered list of varied tasks that ask a writing assistant to judge a short text, which "
    "is quoted in the task. Each is ",
    "revision": "Below is a numbered list of varied tasks that ask a writing assistant to rewrite a short text, which "
    "is quoted in the task. Each is ",
}
GRADE_QUESTIONS = {
    "explicit": "Is this a clear and complete instruction?",
    "implicit": "Can this be replied to as it stands?",
    "generation": "Is this a clear and complete task to write something new?",
    "evaluation": "Can this be done as it stands?",
    "revision": "Is this a clear and complete task to rewrite a quoted text?",
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and how many of its first characters it shares with others of its kind."""

    text: str
    shared: int


def instruction_list(examples: Sequence[str], opening: str = "", kind: str = "explicit") -> Prompt:
    """A numbered list of instructions left open after its next number; `opening` is the word that it goes on with."""
    header = LIST_HEADERS[kind] + _COMPLETE
    lines = [f"{number}. {text}\n" for number, text in enumerate(examples, 1)]
    start = f"{len(examples) + 1}." + (f" {opening}" if opening else "")
    return Prompt(header + "".join(lines) + start, len(header))


def response(examples: Sequence[tuple[str, str]], instruction: str) -> Prompt:
    """Solved examples, each ended by the marker, and one instruction whose response is left open."""
    shared = "".join(f"Instruction: {i}\nResponse: {r}\n{MARKER}\n" for i, r in examples)
    return Prompt(f"{shared}Instruction: {instruction}\nResponse:", len(shared))


def bare(instruction: str, answer: str | None) -> str:
    """An instruction, or one with its response, and nothing else: what a probe reads."""
    return f"Instruction: {instruction}\n" + (f"Response: {answer}\n" if answer is not None else "")


def bare_grade(instruction: str, answer: str | None) -> str:
    """The same with its grade left open and no examples: what a critic adapter is trained on and asked."""
    return f"{bare(instruction, answer)}Grade:"


def grade_instruction(examples: Sequence[tuple[str, str]], instruction: str, kind: str = "explicit") -> Prompt:
    """Instructions (text, label) with the question whether each is good of its kind, and one that is left open.

    Of six forms tried on the embedded model this one told planted explicit instructions apart best (AUC 0.73, the
    others 0.60 to 0.67). What was tried for the other kinds stands in engine/data/README.md.
    """
    question = GRADE_QUESTIONS[kind]
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


CRITIQUE_STOPS = ("\n", MARKER)
REVISION_STOPS = (*RESPONSE_STOPS, "\nCritique", "\nRevision", "\nPrinciple", "\nBetter response")


def critique(
    examples: Sequence[Mapping[str, str]], instruction: str, answer: str, principle: Mapping[str, str], form: str
) -> Prompt:
    """Solved critiques and revisions, and one response whose critique is left open.

    `form` is "requests", that of Bai et al. 2022 (arXiv 2212.08073, section 3.1), or "principle": the principle's text
    in the place of both requests. The embedded 270M model copies the revision request into its revision in half of all
    cases (15 of 32 revisions were sound under "requests", 20 of 32 under "principle"). `principle` and `examples` have
    text, critique_request and revision_request, the examples also instruction, response, critique and revision.
    """
    shared = "".join(
        f"{_criticised(row['instruction'], row['response'], row, form)} {row['critique']}\n"
        f"{_to_revise(row, form)} {row['revision']}\n{MARKER}\n"
        for row in examples
    )
    return Prompt(shared + _criticised(instruction, answer, principle, form), len(shared))


def revision(asked: Prompt, critique_text: str, principle: Mapping[str, str], form: str) -> Prompt:
    """A critique's prompt with its answer, and the revision left open."""
    return Prompt(f"{asked.text} {critique_text}\n{_to_revise(principle, form)}", asked.shared)


def _criticised(instruction: str, answer: str, principle: Mapping[str, str], form: str) -> str:
    said = f"Critique request: {principle['critique_request']}"
    if form == "principle":
        said = f"Principle: {principle['text']}"
    return f"Instruction: {instruction}\nResponse: {flat(answer)}\n{said}\nCritique:"


def _to_revise(principle: Mapping[str, str], form: str) -> str:
    if form == "principle":
        return "Better response:"
    return f"Revision request: {principle['revision_request']}\nRevision:"


def refusal(examples: Sequence[tuple[str, str]], instruction: str) -> Prompt:
    """Instructions that were refused, each ended by the marker, and one whose refusal is left open."""
    shared = "".join(f"Instruction: {i}\nRefusal: {r}\n{MARKER}\n" for i, r in examples)
    return Prompt(f"{shared}Instruction: {instruction}\nRefusal:", len(shared))


def padding(instruction: str, answer: str) -> Prompt:
    """A response that is complete already, with its last sentence to be said again at length: for over-long ones."""
    return Prompt(f"Instruction: {instruction}\nResponse: {flat(answer)} In other words,", 0)


def compare(
    examples: Sequence[tuple[str, str, str, str, str]], instruction: str, first: str, second: str, question: str
) -> Prompt:
    """Compared responses (instruction, first, second, question, letter), and one comparison whose letter is left open.

    The form of Bai et al. 2022 (arXiv 2212.08073, section 4.1), with solved examples before it.
    """

    def one(i: str, a: str, b: str, q: str) -> str:
        return f"Instruction: {i}\n(A) {flat(a)}\n(B) {flat(b)}\nQuestion: {q}\nAnswer:"

    shared = "".join(f"{one(i, a, b, q)} {letter}\n\n" for i, a, b, q, letter in examples)
    return Prompt(shared + one(instruction, first, second, question), len(shared))


def flat(text: str) -> str:
    """The text on one line: a line break inside an item would end it."""
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Trim:
    """Characters [start, end) of the raw text that a rule removed."""

    rule: str
    start: int
    end: int


_SECOND_TURN = re.compile(r"\n\s*(?:Instruction|Task|Question|Response|Answer)\s*:")
_SECOND_TURN_OF_A_QUIZ = re.compile(r"\n\s*(?:Instruction|Task|Response)\s*:")
_QUIZ = re.compile(
    r"\b(?:quiz|riddles?|puzzles?|questions?|exercises?|interview|multiple[- ]choice|true[- ]or[- ]false|test items?"
    r"|word problems?)\b",
    re.IGNORECASE,
)
_MARKER_TAIL = re.compile(r"\s*#{1,}\s*\Z")
_MARKER_ANYWHERE = re.compile(rf"\s*{MARKER}")


def asks_for_questions(instruction: str) -> bool:
    """Whether a response may well hold lines that begin with "Question:" or "Answer:"."""
    return bool(_QUIZ.search(instruction))


def clean_response(raw: str, instruction: str = "") -> tuple[str, list[Trim]]:
    """The kept text and what was removed: white space around it, a marker and what follows, a second turn.

    Where the `instruction` asks for a quiz or the like, a line "Answer: ..." belongs to the response.
    """
    second_turn = _SECOND_TURN_OF_A_QUIZ if asks_for_questions(instruction) else _SECOND_TURN
    trims: list[Trim] = []
    end = len(raw)
    for rule, pattern in (("marker", _MARKER_ANYWHERE), ("second turn", second_turn), ("marker", _MARKER_TAIL)):
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
