"""Model calls that one machine asks and another answers: a share of a file's requests, and answers for the store.

A file of answers is taken as a whole or not at all. Each answer is named by the hash of its own parts, so that it can
only be the answer to a request of the same model, prompt, decoding and seed; what the store has already it keeps.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.core.errors import ModelError
from engine.core.events import Noted
from engine.core.text import flat
from engine.models import registry
from engine.models.answer_lines import (
    ANSWERS,
    REQUESTS,
    BadLine,
    FileHead,
    answer_line,
    answer_of,
    read,
    read_head,
    refused,
    request_of,
    write,
)
from engine.models.answers import WINDOW, row_of, scores_of
from engine.models.requests import Completion, Generate, LabelScores, Model, Score
from engine.spec.provenance import new_session_id
from store.db import Store
from store.errors import CaiError
from store.read import Reader
from store.salvage.clock import utc_now

ALIKE_NATS = 0.25  # between two computations of one score: two bfloat16 steps near a logit of 16
TOLD = ("host", "backend", "vllm", "transformers", "torch", "device", "dtype")  # of the machine that answered
SAID = 60  # characters of what a file says of itself


def answer_share(
    requests: Path, out: Path, share: tuple[int, int], *, model: str | None = None, batch_size: int | None = None
) -> dict[str, Any]:
    """Compute every n-th request of a file, from the k-th on, and write the answers; `share` is k and n.

    `model` names the same weights where they lie elsewhere on this machine. Raises ModelError where they are others,
    and with nothing written where a request is none or has no answer.
    """
    head = read_head(requests, REQUESTS)
    mine = [request for number, request in enumerate(_requests(requests, head)) if number % share[1] == share[0] - 1]
    if out.exists():
        raise ModelError(f"{out} is there already", "Take or remove it, or name another file. Nothing was computed.")
    told = {"requests": str(requests), "share": "{}/{}".format(*share), "out": str(out)}
    if not mine:
        return told | {"answers": 0}
    with closing(registry.load(model or head.model, batch_size=batch_size)) as loaded:
        if loaded.fingerprint != head.fingerprint:
            raise ModelError(
                f"{loaded.name} has the fingerprint {loaded.fingerprint} here, the requests are of {head.fingerprint}",
                "The same files, in the same type on the same kind of device, have the same one. Nothing was computed.",
            )
        known = loaded.facts | {"host": socket.gethostname()}
        facts = {name: known[name] for name in TOLD if name in known}
        answers = FileHead(ANSWERS, head.model, head.fingerprint, facts)
        n = write(out, answers, (answer_line(head.fingerprint, answer) for answer in _answered(loaded, mine)))
    return told | {"answers": n}


def import_answers(store: Store, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Take the answers of files into the store, each file whole or not at all; returns what was done with each.

    Each has {file, answers, new, refused}: `refused` says why a file was not taken, None where it was.
    """
    found = []
    with store.reader() as reader:
        for file in files:
            told: dict[str, Any] = {"file": str(file), "answers": 0, "new": 0, "refused": None}
            try:
                told |= _taken(store, reader, file)
            except CaiError as error:
                told["refused"] = f"{error.title}. {error.hint}"
            found.append(told)
    return found


def _requests(path: Path, head: FileHead) -> Iterator[Generate | Score]:
    for number, line in read(path, REQUESTS):
        try:
            yield request_of(head.fingerprint, line)
        except BadLine as error:
            raise refused(path, str(error), number) from None


def _answered(model: Model, requests: Sequence[Generate | Score]) -> Iterator[Completion | LabelScores]:
    yield from model.generate([one for one in requests if isinstance(one, Generate)])
    yield from scores_of(model, [one for one in requests if isinstance(one, Score)])


def _taken(store: Store, reader: Reader, file: Path) -> dict[str, int]:
    """Check a file to its end, then write all of it in one transaction. Raises CaiError with nothing written."""
    head = read_head(file, ANSWERS)
    run = next(iter(reader.query(_RUN, [head.fingerprint])), None)
    if run is None:
        raise refused(file, f"no run of this store is of a model with the fingerprint {flat(head.fingerprint, SAID)}")
    answers: dict[str, Completion | LabelScores] = {}
    for number, line in read(file, ANSWERS):
        try:
            answer = answer_of(head.fingerprint, line)
        except BadLine as error:
            raise refused(file, str(error), number) from None
        if answers.setdefault(line["request_id"], answer) != answer:
            raise refused(file, "another answer to the same request stands in this file", number)
    known = _known(reader, file, answers)
    new = {key: answer for key, answer in answers.items() if key not in known}
    if new:
        run_id, session_id, now = run["run_id"], new_session_id(), utc_now()
        stamp = {"session_id": session_id, "created_at": now}
        rows: dict[str, list[dict[str, Any]]] = {}
        for key, answer in new.items():
            table, row = row_of(key, head.fingerprint, answer)
            rows.setdefault(table, []).append(row | stamp)
        session = {"session_id": session_id, "run_id": run_id, "pid": os.getpid(), "host": socket.gethostname()}
        rows["sessions"] = [session | {"started_at": now}]
        rows["events"] = [_event(run_id, session_id, now, _told(file, head, len(new)))]
        store.append(rows)
    return {"answers": len(answers), "new": len(new)}


_RUN = "SELECT run_id FROM runs WHERE fingerprint = ? ORDER BY created_at DESC, run_id DESC LIMIT 1"


def _known(reader: Reader, file: Path, answers: dict[str, Completion | LabelScores]) -> set[str]:
    """The ids that the store has answers to. Raises ModelError where one of them is another answer."""
    known: set[str] = set()
    waiting = iter(answers)
    while window := list(itertools.islice(waiting, WINDOW)):
        for key, row in reader.completions(window).items():
            answer = answers[key]
            assert isinstance(answer, Completion)
            if (answer.text, list(answer.token_ids)) != (row["text"], list(row["token_ids"])):
                raise refused(file, f"the store has another text for the request {key}")
            known.add(key)
        for key, row in reader.scores(window).items():
            answer = answers[key]
            assert isinstance(answer, LabelScores)
            apart = max(abs(a - b) for a, b in zip(answer.logprobs, row["logprobs"], strict=True))
            if apart > ALIKE_NATS:
                raise refused(file, f"the store has another score for the request {key}, {apart:.2g} nats away")
            known.add(key)
    return known


def _told(file: Path, head: FileHead, n: int) -> str:
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    told = [f"{name} {flat(str(head.facts[name]), SAID)}" for name in TOLD if name in head.facts]
    machine = ", ".join(told) or "an unknown machine"
    return f"{n:,} answers computed elsewhere ({machine}) were taken from {flat(file.name, SAID)}, sha256 {sha256[:16]}"


def _event(run_id: str, session_id: str, now: datetime, text: str) -> dict[str, Any]:
    event = Noted(run_id, "info", text)
    about = {"run_id": run_id, "session_id": session_id, "seq": 1, "at": now}
    return about | {"kind": event.kind, "payload": event.payload()}
