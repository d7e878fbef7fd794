"""The self-check of a model that answers from another process: vLLM, or servers.

It is asked through the same door as by the pipeline: the same labels again, in another order, one by one, and behind a
beginning that it never saw before and that it saw just now. Where the weights are on this machine and small enough to
be run here in seconds, its answers are compared with a transformers forward pass over them, too. Where it shows hidden
states, a text's have to be the same alone and among others; if not, it shows none.
"""

from __future__ import annotations

import math
import secrets
import time
from pathlib import Path
from typing import TypeVar

import numpy as np

from engine.core.data import read_data
from engine.core.errors import ModelError, first_line
from engine.models.files.source import Source, local_folder
from engine.models.requests import Decoding, Generate, Model, Read, Score
from engine.models.selfcheck import SelfCheck, largest_of

EXACT_NATS = 1e-2  # of an engine in float32, whose kernels are others
AGREE_NATS = 0.25  # of 16 bits, asked twice: two bfloat16 steps near a logit of 16
NEAR_NATS = 2e-2  # of 16 bits beside float32, and twice what rounding moves the forward pass's own scores
AT_HAND_BYTES = 2 << 30  # of weights that are run here for comparison
BEGINNING_CHARACTERS = 600
UNTOLD_CONTEXT = 256  # tokens that any model takes
GREEDY_TOKENS = 8
SAME_STATES, NEAR_STATES = 1e-3, 5e-2  # a text's alone and among others, as a share of the largest value: 32, 16 bits
QUESTION, LABELS = "The capital of France is", (" good", " bad", " Paris, of course")
ITSELF = "the same asked for again, in another order and behind a known beginning"

_Model = TypeVar("_Model", bound=Model)


def confirmed(model: _Model, source: Source) -> _Model:
    """The same model with what the check found among its facts; closed where it is refused. Raises ModelError."""
    try:
        model.facts |= checked(model, source).facts()
    except BaseException:
        model.close()
        raise
    return model


def checked(model: Model, source: Source) -> SelfCheck:
    """Ask it, and a forward pass where there can be one. Raises ModelError where their answers differ."""
    began = time.perf_counter()
    exact = model.facts.get("dtype") == "float32"
    served = model.facts.get("served") or {}
    kind = "server" if source.servers else "vLLM"
    name = str(served.get("id") or Path(source.name).name)
    asked = _answers(model)
    tolerance = EXACT_NATS if exact else AGREE_NATS
    largest = largest_of([abs(value - values[0]) for values in asked.values() for value in values])
    _require(largest, tolerance, f"{kind} of {name}: the same labels, asked for again, differ by")
    last = Generate(list(asked)[-1][0], Decoding(GREEDY_TOKENS), 0)
    (first,), (again,) = (tuple(model.generate([last])) for _ in range(2))
    rounding, n = 0.0, sum(map(len, asked.values()))
    try:
        own, rounded = _forward(_folder_of(source, served.get("root")), list(asked), exact)
    except _NotAtHand as reason:
        against = f"{ITSELF}; no forward pass beside it: {reason}"
    else:
        against = "a forward pass over its weights"
        if not exact:
            rounding = max(abs(own[one] - rounded[one]) for one in own)
            tolerance = NEAR_NATS + 2 * rounding
        largest = largest_of([abs(value - own[one]) for one, values in asked.items() for value in values])
        _require(largest, tolerance, f"{kind} of {name}: beside a forward pass over its weights labels are off by")
    return SelfCheck(
        name, kind, largest, tolerance, n, first.text == again.text, _states(model, exact), rounding,
        round(time.perf_counter() - began, 2), against=against,
    )  # fmt: skip


class _NotAtHand(Exception):
    """Why there is no forward pass to compare with."""


def _answers(model: Model) -> dict[tuple[str, str], list[float]]:
    """What the model says of each prompt and label, each asked for several times."""
    context = int(model.facts.get("context") or UNTOLD_CONTEXT)
    text = " ".join(row["text"] for row in read_data("seeds"))
    # Unseen by whatever keeps beginnings, and never longer than half of a context, whose tokens have a character each.
    beginning = f"{secrets.token_hex(8)}. {text[: min(BEGINNING_CHARACTERS, context // 2)]}\n\n"
    found: dict[tuple[str, str], list[float]] = {}
    for prompt, shared in ((QUESTION, 0), (beginning + QUESTION, len(beginning))):
        alone = [Score(prompt, (label,), shared) for label in LABELS]
        for some in ([Score(prompt, LABELS, shared)], [Score(prompt, LABELS[::-1], shared), *alone]):
            for answer in model.score(some):
                for label, value in zip(answer.request.labels, answer.logprobs, strict=True):
                    found.setdefault((prompt, label), []).append(value)
    return found


def _states(model: Model, exact: bool) -> float | None:
    """The largest difference of a text's states alone and among others; None where none are shown from now on."""
    if not model.layers:
        return None
    layers = (max(1, model.layers // 2),)
    texts = [f"{QUESTION}{label}" for label in LABELS]
    texts += [row["text"] for row in read_data("seeds")[:8]]
    try:
        alone = [one for text in texts[: len(LABELS)] for one in model.hidden([Read(text, layers)])]
        among = {one.request: one.states for one in model.hidden([Read(text, layers) for text in texts])}
        apart = [np.abs(one.states - among[one.request]).max() / np.abs(one.states).max() for one in alone]
        largest = largest_of([float(one) for one in apart])
    except ModelError:
        largest = math.nan
    if largest <= (SAME_STATES if exact else NEAR_STATES):
        return largest
    model.layers = 0
    return None


def _require(largest: float, tolerance: float, what: str) -> None:
    if not largest <= tolerance:
        raise ModelError(
            f"{what} {largest:.2g} nats, at most {tolerance:.2g} are allowed",
            "Look for what changes its logits (--logprobs-mode, a penalty, other weights under its name), or let "
            "transformers run the model's folder (CAI_BACKEND=transformers). Nothing was lost.",
        )


def _folder_of(source: Source, root: object) -> Path:
    """Where the weights lie, as far as they are small. Raises _NotAtHand."""
    folder = Path(root) if source.servers and isinstance(root, str) else local_folder(source)
    if folder is None or not folder.is_dir():
        raise _NotAtHand("its weights are not on this machine")
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not 0 < size <= AT_HAND_BYTES:
        raise _NotAtHand(f"its weights have {size / 2**30:.1f} GiB, run here are up to {AT_HAND_BYTES / 2**30:g}")
    return folder


def _forward(
    folder: Path, asked: list[tuple[str, str]], exact: bool
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Log-probabilities of labels behind prompts, in float32, and in bfloat16 but where that is `exact`.

    Raises _NotAtHand.
    """
    try:
        import torch  # heavy, and perhaps not installed beside a server

        from engine.models.files.loading import causal_lm
        from engine.models.files.tokenizer import Text
        from engine.models.local.checking import Reference, Unusable
    except ImportError as error:
        raise _NotAtHand(f"no model library is installed ({first_line(error)})") from None
    try:
        text = Text.of(str(folder))
        model = causal_lm(str(folder), dtype=torch.float32).eval()
        found = []
        for dtype in (torch.float32,) if exact else (torch.float32, torch.bfloat16):
            reference = Reference(model.to(dtype), text)
            found.append(
                {
                    (prompt, label): value
                    for prompt in dict.fromkeys(prompt for prompt, _ in asked)
                    for label, value in zip(LABELS, reference.logprobs(prompt, LABELS), strict=True)
                }
            )
        return found[0], found[-1]
    except (ModelError, Unusable, MemoryError, OSError, RuntimeError, ValueError) as error:
        raise _NotAtHand(f"it fails ({first_line(error)})") from None
