"""The self-check: before anything is asked, a path must give what the model's own forward pass gives.

The reference is the model's class alone: one text at a time, no padding, no cache, no mask. A path is asked through the
same door as by the pipeline: texts of different length together, behind a shared beginning that is longer than any
window of the configuration, with labels of one and of several tokens, and greedily. One pass over the long text is the
reference of the texts that it begins with, too: nothing that follows is seen by them.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from engine.core.data import read_data
from engine.core.errors import ModelError, first_line
from engine.models import selfcheck
from engine.models.files.tokenizer import Text
from engine.models.local.fast import FastPath
from engine.models.local.head import only_at, unrounded
from engine.models.local.plain import OneByOne, PlainPath
from engine.models.local.way import Unsuited, Way, WrittenRow, context_of, summed
from engine.models.requests import Decoding, Generate, Read, Score
from engine.models.selfcheck import FAST, SelfCheck, largest_of

TOLERANCE_NATS, HIDDEN_TOLERANCE = 1e-3, 1e-3  # in float32; hidden states as a share of the largest value
# Where there is no memory for float32: two bfloat16 steps near a logit of 16, in which kernels may differ.
ROUNDED_NATS, ROUNDED_HIDDEN = 0.25, 5e-2
SPARE_BYTES = 4 << 30  # of a GPU's memory, for what is computed
LEAST_TOKENS = 48  # of the long text, where no window is named
BEYOND = 4  # tokens by which the long text exceeds a window
LONGEST_TOKENS = {"cpu": 2_304, "cuda": 16_640}  # of the long text: beyond windows of 2,048 and 16,384
GREEDY_TOKENS = 3
LABELS = (" good", " bad", " Paris, of course")
SHORT = "The capital of France is"
SOLVED = "Q: What is 1 + 1?\nA: 2\n\nQ: What is 3 + 5?\nA: 8\n\n"  # a beginning that is shared
GRADED = SOLVED + "Instruction: Name a fruit.\nResponse: An apple.\n\nGrade:"  # what the long text begins with
WAYS = (FastPath, PlainPath, OneByOne)
NO_MEMORY = (MemoryError, torch.OutOfMemoryError)  # which say nothing of a path
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")


class Unusable(Exception):
    """A model whose own pass gives nothing to compare with."""


def settled(model: Any, text: Text, ends: frozenset[int], batch_size: int, fingerprint: str) -> tuple[Way, SelfCheck]:
    """The path to use, and what the check found of it, now or before.

    Raises ModelError where not even the plain path gives what the model's own pass gives, or memory is used up.
    """
    key = _key(model, fingerprint, batch_size)
    known = selfcheck.kept(key)
    if known is not None:
        path: Way = next(way for way in WAYS if way.name == known.path)(model, text, ends, batch_size)
        path.layers = 0 if known.hidden is None else path.layers
        return path, known
    try:
        path, done = _checked(model, text, ends, batch_size)
    except NO_MEMORY as error:
        raise ModelError(
            f"{type(model).__name__} could not be checked: not enough free memory ({first_line(error)})",
            "Free some, take a larger device or a smaller model (`cai doctor`). Nothing was lost: it is checked when "
            "it is loaded again.",
        ) from error
    path.forget()
    selfcheck.keep(key, done)
    return path, done


def _checked(model: Any, text: Text, ends: frozenset[int], batch_size: int) -> tuple[Way, SelfCheck]:
    """The first path that gives what the model's own pass gives. Raises ModelError where none does, and NO_MEMORY."""
    architecture = type(model).__name__
    began = time.perf_counter()
    instead, rounding = "", 0.0
    with wide(model) as of_16_bits:
        reference = Reference(model, text)
        for way in WAYS:
            try:
                if way is FastPath and reference.cut:
                    raise Unsuited(f"its window of {reference.window} tokens is too long to be checked on this device")
                path = way(model, text, ends, batch_size)
                found = compared(path, reference)
                break
            except NO_MEMORY:
                raise
            except Exception as error:  # whatever a class that this program never saw comes up with
                told = isinstance(error, Unsuited | Unusable)
                reason = str(error) if told else f"it fails ({first_line(error)})"
                if way is WAYS[-1] or isinstance(error, Unusable):
                    raise _refused(architecture, reason) from error
                instead = instead or reason
    if of_16_bits:
        layers = path.layers
        path = way(model, text, ends, batch_size)
        path.layers = layers
        rounding = largest_of(differences(path, reference))
        if not math.isfinite(rounding):
            raise _refused(architecture, f"in {str(model.dtype).removeprefix('torch.')} it gives no numbers")
    done = SelfCheck(
        architecture, path.name, found.nats, reference.tolerance, found.scores, True, found.hidden, rounding,
        round(time.perf_counter() - began, 2), instead,
    )  # fmt: skip
    return path, done


def _refused(architecture: str, reason: str) -> ModelError:
    return ModelError(
        f"{architecture} can't be scored exactly: {reason}",
        "Take a model of another architecture, or serve it and name the server. No run was started.",
    )


@contextmanager
def wide(model: Any) -> Iterator[bool]:
    """For this time 16-bit weights are computed in float32, where there is memory for it; what they are is not changed.

    Gives whether any were. Rounding to 16 bits moves scores by more than many a fault does.
    """
    of_16_bits = [
        one for one in (*model.parameters(), *model.buffers()) if one.dtype in (torch.bfloat16, torch.float16)
    ]
    if model.device.type == "cuda":
        more = sum(one.numel() * 2 for one in of_16_bits)
        if more + SPARE_BYTES > torch.cuda.mem_get_info(model.device)[0]:
            of_16_bits = []
    was = [one.dtype for one in of_16_bits]
    try:
        for one in of_16_bits:
            one.data = one.data.float()
        yield bool(of_16_bits)
    finally:
        for one, dtype in zip(of_16_bits, was, strict=True):
            one.data = one.data.to(dtype)


def _key(model: Any, fingerprint: str, batch_size: int) -> str:
    """A name for all that the check depends on: weights, libraries, device, batch, and this program's own code."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for file in (*sorted(here.glob("*.py")), here.parent / "files" / "tokenizer.py"):
        digest.update(file.read_bytes())
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type
    libraries = (transformers.__version__, torch.__version__)
    about = (fingerprint, *libraries, device, str(model.dtype), str(batch_size), digest.hexdigest())
    return hashlib.sha256(" ".join(about).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Agreement:
    """How far a path is from the reference."""

    nats: float
    scores: int
    hidden: float | None


class Reference:
    """The model's own answers, one text at a time. Its methods raise Unusable where its class does not answer."""

    def __init__(self, model: Any, text: Text) -> None:
        self._model = model
        self._text = text
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        exact = model.dtype == torch.float32
        self.tolerance = TOLERANCE_NATS if exact else ROUNDED_NATS
        self.hidden_tolerance = HIDDEN_TOLERANCE if exact else ROUNDED_HIDDEN
        config = model.config.get_text_config()
        context = context_of(model)
        named = [getattr(config, name, None) for name in WINDOWS]
        self.window = max((n for n in named if isinstance(n, int) and n < context), default=0)
        wanted = max(LEAST_TOKENS, self.window + BEYOND)
        self.cut = wanted > LONGEST_TOKENS[model.device.type]
        self._beginnings = (self._long(LEAST_TOKENS if self.cut else wanted, context), SOLVED)
        self.long = self._beginnings[0] + SHORT
        graded, label = text.encode(GRADED), text.plain(LABELS[-1])
        self._passed = [(*graded, *label[:n]) for n in range(len(label))]  # asked about later
        self._layered = bool(getattr(model.get_decoder(), "layers", ()))
        self._states: tuple[torch.Tensor, ...] = ()

    def shared(self, prompt: str) -> int:
        """How many first characters a text has in common with others."""
        return next((len(text) for text in self._beginnings if prompt.startswith(text)), 0)

    def _long(self, wanted: int, context: int) -> str:
        """A text of so many tokens or some more, as far as the context lets a question follow."""
        room = context - 2 * len(self._text.encode(SHORT + LABELS[-1])) - GREEDY_TOKENS
        found, n = "", 0
        words = " ".join([GRADED + LABELS[-1], *(row["text"] for row in read_data("seeds"))]).split(" ")
        for word in words * (1 + wanted // len(words)):
            n += len(self._text.plain(f" {word}"))
            if n > room:
                break
            found += f"{word} "
            if n >= wanted:
                break
        return found

    def logprobs(self, prompt: str, labels: tuple[str, ...]) -> list[float]:
        """Log-probabilities of labels behind a prompt, summed over their tokens."""
        ids = self._text.encode(prompt)
        of_labels = [self._text.plain(label) for label in labels]
        self.logits(ids, max(of_labels, key=len)[:-1])  # of all places of the longest one at once
        found = []
        for tokens in of_labels:
            steps = self.logits(ids, tokens[:-1]).log_softmax(-1)[range(len(tokens)), tokens]
            found.append(float(steps.sum()))
        return found

    def greedily(self, prompt: str, written: Sequence[int], told: Sequence[float]) -> tuple[float, float]:
        """How far written tokens' logits are at most behind the largest of their place, and `told` ones are off."""
        logits = self.logits(self._text.encode(prompt), written[:-1])
        own = logits[range(len(written)), list(written)]
        behind = (logits.max(-1).values - own).max()
        return float(behind), float((own - torch.tensor(told, dtype=own.dtype, device=own.device)).abs().max())

    def logits(self, ids: Sequence[int], more: Sequence[int]) -> torch.Tensor:
        """Logits behind `ids`, and behind each of the tokens that follow them ([places, vocabulary], float64)."""
        wanted = [(*ids, *more[:n]) for n in range(len(more) + 1)]
        if not all(text in self._known for text in wanted):
            whole = wanted[-1]
            passed = [*(text for text in self._passed if whole[: len(text)] == text and text not in wanted), *wanted]
            output = self._model.get_output_embeddings()
            places = torch.tensor([len(text) - 1 for text in passed], device=self._model.device)
            # The states of the shortest text alone: those of a long one can fill a memory.
            also = {"output_hidden_states": True} if self._layered and ids == self._text.encode(SHORT) else {}
            try:
                with torch.no_grad(), only_at(output, torch.zeros_like(places), places), unrounded(output):
                    given = self._model(
                        torch.tensor([whole], device=self._model.device), use_cache=False, return_dict=True, **also
                    )
                found = given.logits[0, -len(places) :].double()
                if also:
                    self._states = tuple(state[0, : len(ids)] for state in given.hidden_states)
            except NO_MEMORY:
                raise
            except Exception as error:
                raise Unusable(f"its own forward pass fails: {first_line(error)}") from error
            if not found.isfinite().any(-1).all() or found.isnan().any():
                raise Unusable("its own forward pass gives no numbers")
            self._known |= dict(zip(passed, found, strict=True))
        return torch.stack([self._known[text] for text in wanted])

    def states(self, layer: int) -> torch.Tensor:
        """The states of the short text's tokens behind a layer, [tokens, size]."""
        self.logits(self._text.encode(SHORT), ())
        return self._states[layer].float().cpu()


def compared(path: Way, reference: Reference) -> Agreement:
    """Ask a path what the reference was asked. Raises Unsuited where they differ by more than the tolerance."""
    # The first one ends first, and the last one goes on in its place.
    asked = [Generate(SHORT, Decoding(n), 0) for n in (1, GREEDY_TOKENS)]
    asked.insert(1, Generate(reference.long, Decoding(2), 0, reference.shared(reference.long)))
    with told_logits(path) as told:
        written = sorted(path.generate(asked), key=lambda answer: len(answer.token_ids), reverse=True)
    found = [reference.greedily(one.request.prompt, one.token_ids, told[one.request]) for one in written]
    behind, off = (largest_of(list(one)) for one in zip(*found, strict=True))
    apart = differences(path, reference)
    largest = largest_of(apart)
    if not largest <= reference.tolerance:
        raise Unsuited(f"it is off by {largest:.2g} nats, at most {reference.tolerance:g} are allowed")
    if not behind <= 2 * reference.tolerance:  # nearer than that two tokens can't be told apart
        raise Unsuited(f"greedily it takes a token that is {behind:.2g} nats behind the best")
    if not off <= reference.tolerance:
        raise Unsuited(f"greedily its logits are off by {off:.2g}")
    return Agreement(largest, len(apart), _hidden_difference(path, reference))


@contextmanager
def told_logits(path: Way) -> Iterator[dict[Generate, list[float]]]:
    """For this time the logits of the tokens that a path writes, by request: an equal text can be chance."""
    found: dict[Generate, list[float]] = {}
    usual = path._choose

    def chosen(rows: list[WrittenRow], logits: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        usual(rows, logits, ids)
        for row, values, tokens in zip(rows, logits, ids, strict=True):
            found.setdefault(row.request, []).append(float(values[tokens == row.written[-1]][0]))

    path._choose = chosen  # type: ignore[method-assign]
    try:
        yield found
    finally:
        del path._choose


def differences(path: Way, reference: Reference) -> list[float]:
    """How far a path's label scores are from the reference's, in nats."""
    # The same text several times behind its beginning: the last one must not be further from it than the first.
    asked = [(SHORT, LABELS[:2]), (GRADED, LABELS), (SHORT, LABELS[1::-1])]
    asked += [(reference.long, labels) for labels in (LABELS[:2], LABELS[:1], LABELS[1:2])]
    scores = [Score(text, labels, reference.shared(text)) for text, labels in asked]
    found = []
    for answer in path.score(scores):
        wanted = reference.logprobs(answer.request.prompt, answer.request.labels)
        found += [abs(value - other) for value, other in zip(answer.logprobs, wanted, strict=True)]
    return found


def _hidden_difference(path: Way, reference: Reference) -> float | None:
    """The largest difference of hidden states as a share of their largest value; None where none can be read."""
    if not path.layers:
        return None
    layer = max(1, path.layers // 2)
    wanted = summed(reference.states(layer))
    scale = wanted.abs().max()
    read = path.hidden([Read(SHORT, (layer,))] * 2)
    apart = [float((torch.from_numpy(answer.states[0]) - wanted).abs().max() / scale) for answer in read]
    largest = largest_of(apart)
    if largest <= reference.hidden_tolerance:
        return largest
    if path.name == FAST:
        raise Unsuited(f"its hidden states are off by {largest:.2g} of the largest value")
    path.layers = 0  # this class means another thing by its layers: no probe reads them
    return None
