"""Requests and answers as lines of JSON, in files that one machine writes and another reads.

The first line says what the file is and whose fingerprint all of it is of, the last one how many lines lie between, so
that a file which was cut is known. A line's id is the hash of its own parts, as in the store. Nothing that stands in a
file is trusted: what a line lacks, has too much or has of another type is an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.core.errors import ModelError
from engine.models.requests import Completion, Decoding, Generate, LabelScores, Score, request_id
from store.disk import whole_file

REQUESTS, ANSWERS = "requests of cai, version 1", "answers of cai, version 1"
MOST_BYTES = 1 << 30  # of a file: one transaction takes all of it
MOST_LINE = 16 << 20
MOST_TOKENS = 2**31 - 1  # ids and counts have 32 bits in the store
LARGEST_SEED = 2**63 - 1
ABOVE_0 = 1e-3  # nats, by which the sum of a label's log-probabilities may be rounded up

_ASKED = {"prompt", "shared"}
_WRITTEN = {"text", "token_ids", "n_prompt_tokens", "stop_reason", "stop_text"}
_SCORED = {"logprobs", "n_tokens"}


class BadLine(ValueError):
    """Why a line is none that this program wrote."""


@dataclass(frozen=True, slots=True)
class FileHead:
    """What the first line of a file says: what was asked or answered, of which model, and what answered."""

    kind: str
    model: str
    fingerprint: str
    facts: dict[str, Any]


def request_line(fingerprint: str, request: Generate | Score) -> dict[str, Any]:
    """A request as its line; the hint `shared` is in it, for the machine that answers."""
    line: dict[str, Any] = {"request_id": request_id(fingerprint, request), "prompt": request.prompt}
    if isinstance(request, Generate):
        line |= {"decoding": asdict(request.decoding), "seed": request.seed}
    else:
        line |= {"labels": list(request.labels)}
    return line | {"shared": request.shared}


def answer_line(fingerprint: str, answer: Completion | LabelScores) -> dict[str, Any]:
    """An answer as its line, with all that its request was."""
    line = request_line(fingerprint, answer.request)  # type: ignore[arg-type]
    if isinstance(answer, Completion):
        return line | {name: getattr(answer, name) for name in sorted(_WRITTEN)}
    return line | {"logprobs": answer.logprobs, "n_tokens": answer.n_tokens}


def request_of(fingerprint: str, line: dict[str, Any]) -> Generate | Score:
    """The request of a line that has nothing but a request. Raises BadLine."""
    return _request(fingerprint, line, set())


def answer_of(fingerprint: str, line: dict[str, Any]) -> Completion | LabelScores:
    """The answer of a line. Raises BadLine."""
    if "decoding" not in line:
        scored = _request(fingerprint, line, _SCORED)
        assert isinstance(scored, Score)
        logprobs, n_tokens = _list(line, "logprobs", _is_real), _list(line, "n_tokens", _is_count)
        if not len(logprobs) == len(n_tokens) == len(scored.labels):
            raise BadLine("not one log-probability and one number of tokens for each label")
        if not all(math.isfinite(value) and value <= ABOVE_0 for value in logprobs):
            raise BadLine("a log-probability that is none")
        if not all(n_tokens):
            raise BadLine("a label of no tokens")
        return LabelScores(scored, tuple(map(float, logprobs)), tuple(n_tokens))
    request = _request(fingerprint, line, _WRITTEN)
    assert isinstance(request, Generate)
    ids, reason, stop = _list(line, "token_ids", _is_count), line["stop_reason"], line["stop_text"]
    text = _of(line, "text", str)
    if not 0 < len(ids) <= request.decoding.max_tokens:
        raise BadLine(f"{len(ids)} tokens where 1 to {request.decoding.max_tokens} were asked for")
    if reason not in ("stop", "eos", "length") or (
        stop not in request.decoding.stop if reason == "stop" else stop is not None
    ):
        raise BadLine("an end that was not asked for")
    if stop is not None and stop in text:
        raise BadLine("a text that has its stop sequence in it")
    return Completion(request, text, tuple(ids), _count(line, "n_prompt_tokens"), reason, stop)


def write(out: Path, head: FileHead, lines: Iterable[dict[str, Any]]) -> int:
    """Write a file as a whole or not at all; returns the number of lines between its first and its last one.

    Raises ModelError where the name is taken or the file can't be written; no line leaves no file.
    """
    n = 0
    try:
        with whole_file(out) as aside, aside.open("w", encoding="ascii") as file:
            file.write(json.dumps(asdict(head)) + "\n")
            for n, line in enumerate(lines, 1):  # noqa: B007
                file.write(json.dumps(line, allow_nan=False) + "\n")
            file.write(json.dumps({"lines": n}) + "\n")
            if not n:
                raise _Nothing
    except _Nothing:
        return 0
    except FileExistsError:
        raise ModelError(
            f"{out} is there already", "Take or remove it, or name another file. Nothing was lost."
        ) from None
    except OSError as error:
        raise ModelError(
            f"{out} could not be written: {error.strerror or error}",
            "Free space, or name another folder. Nothing was lost.",
        ) from error
    return n


def read_head(path: Path, kind: str) -> FileHead:
    """What a file says of itself. Raises ModelError where it is not of this kind."""
    head: FileHead = next(_read(path, kind))
    return head


def read(path: Path, kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines between a file's first and last one, with their numbers. Raises ModelError, also at the end."""
    found = _read(path, kind)
    next(found)
    yield from found


def refused(path: Path, why: str, number: int = 0) -> ModelError:
    """The error for a file that can't be used, and why."""
    where = f"{path}, line {number}" if number else str(path)
    return ModelError(
        f"{where}: {why}",
        "Nothing was taken from this file and nothing was changed. Copy it again from where it was written, or compute "
        "it again (cai answer).",
    )


class _Nothing(Exception):
    """There was no line to be written."""


def _read(path: Path, kind: str) -> Iterator[Any]:
    try:
        with path.open("rb") as file:
            if path.stat().st_size > MOST_BYTES:
                raise refused(path, f"it is larger than {MOST_BYTES >> 20:,} MiB; compute smaller shares")
            yield _head(path, kind, file.readline(MOST_LINE))
            number, last = 1, None
            while raw := file.readline(MOST_LINE):
                number += 1
                if last is not None:
                    raise refused(path, "lines follow the last one", number)
                line = _parsed(path, number, raw)
                if line.keys() == {"lines"}:
                    last = line["lines"]
                else:
                    yield number, line
            if last is None or last != number - 2:
                raise refused(path, "it was cut: the last line does not say how many lines there are")
    except OSError as error:
        raise refused(path, f"it can't be read ({error.strerror or error})") from error


def _head(path: Path, kind: str, raw: bytes) -> FileHead:
    found = _parsed(path, 1, raw)
    if found.keys() != {"kind", "model", "fingerprint", "facts"} or found["kind"] != kind:
        raise refused(path, f"it does not begin as {kind}", 1)
    if not (
        isinstance(found["model"], str) and isinstance(found["fingerprint"], str) and isinstance(found["facts"], dict)
    ):
        raise refused(path, "its first line names no model and fingerprint", 1)
    return FileHead(**found)


def _parsed(path: Path, number: int, raw: bytes) -> dict[str, Any]:
    try:
        if not raw.endswith(b"\n"):
            raise BadLine("it is cut, or too long")
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, BadLine) else "it is no JSON"
        raise refused(path, why, number) from None
    if not isinstance(found, dict):
        raise refused(path, "it is no JSON object", number)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadLine("a key stands in it twice")
    return found


def _no_number(text: str) -> float:
    raise BadLine(f"{text} is no number")


def _request(fingerprint: str, line: dict[str, Any], answered: set[str]) -> Generate | Score:
    """The request that a line is of, and nothing else beside it but what is `answered`."""
    written = "decoding" in line
    wanted = {"request_id", *_ASKED, *({"decoding", "seed"} if written else {"labels"}), *answered}
    if line.keys() != wanted:
        raise BadLine(f"it has not exactly {', '.join(sorted(wanted))}")
    prompt, shared = _of(line, "prompt", str), _count(line, "shared")
    request: Generate | Score
    if written:
        seed = line["seed"]
        if not _is_whole(seed) or not -LARGEST_SEED - 1 <= seed <= LARGEST_SEED:
            raise BadLine("a seed that is none")
        request = Generate(prompt, _decoding(_of(line, "decoding", dict)), seed, shared)
    else:
        labels = _list(line, "labels", lambda value: isinstance(value, str) and value != "")
        if not labels:
            raise BadLine("no labels")
        request = Score(prompt, tuple(labels), shared)
    if line["request_id"] != request_id(fingerprint, request):
        raise BadLine("its id is not the hash of what it says")
    return request


def _decoding(found: dict[str, Any]) -> Decoding:
    if found.keys() != {"max_tokens", "temperature", "top_k", "top_p", "stop"}:
        raise BadLine("a decoding that is none")
    stop = _list(found, "stop", lambda value: isinstance(value, str) and value != "")
    numbers = [found["temperature"], found["top_p"]]
    if not all(_is_real(value) and math.isfinite(value) and value >= 0 for value in numbers):
        raise BadLine("a decoding that is none")
    return Decoding(_count(found, "max_tokens"), numbers[0], _count(found, "top_k"), numbers[1], tuple(stop))


def _of(line: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(line[name], kind):
        raise BadLine(f"{name} has another type")
    return line[name]


def _list(line: dict[str, Any], name: str, fits: Callable[[Any], bool]) -> list[Any]:
    found: list[Any] = _of(line, name, list)
    if not all(map(fits, found)):
        raise BadLine(f"{name} has what does not belong there")
    return found


def _count(line: dict[str, Any], name: str) -> int:
    if not _is_count(line[name]):
        raise BadLine(f"{name} is no count")
    return int(line[name])


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and 0 <= value <= MOST_TOKENS


def _is_real(value: Any) -> bool:
    return isinstance(value, float) or (_is_whole(value) and abs(value) <= MOST_TOKENS)
