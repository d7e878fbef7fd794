"""Hidden states by vLLM beside those of transformers, of texts whose last chunk is one token.

vLLM takes such a chunk for a token that is written, and may compute it by replaying a graph, which calls no hooks
(`engine/models/vllm/states.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.core.data import read_data
from engine.core.errors import ModelError
from engine.critics.probe import layers_of
from engine.models.requests import Read

# Stated before it was run on a GPU; docs/BENCHMARKS.md says the same.
WITHIN = 0.05  # of the largest value
CHUNK = 64  # tokens that vLLM computes in a step here
LENGTHS = (1, CHUNK + 1, 2 * CHUNK + 1, CHUNK // 2)  # of the texts: all but the last one end in a chunk of one token


def by_vllm(folder: Path) -> dict[str, Any]:
    """The row of a model in `folder`, loaded by one backend after the other."""
    from engine.models.files.source import resolve
    from engine.models.files.tokenizer import Text
    from engine.models.local.backend import TransformersModel
    from engine.models.vllm import engine
    from engine.models.vllm.backend import VllmModel

    usual = engine._arguments
    changed = {"max_num_batched_tokens": CHUNK, "max_model_len": 4 * CHUNK}
    engine._arguments = lambda settings: usual(settings) | changed
    source, texts = resolve(str(folder)), of_lengths(Text.of(str(folder)))
    given, right = (states_of(of.load(source, batch_size=len(texts)), texts) for of in (VllmModel, TransformersModel))
    return compared(given, right)


def of_lengths(text: Any) -> list[str]:
    """A text of each of `LENGTHS`, in tokens."""
    words = " ".join(row["response"] for row in read_data("read_pairs")[:100])
    return [next(words[:end] for end in range(1, 20 * n) if len(text.encode(words[:end])) == n) for n in LENGTHS]


def states_of(model: Any, texts: Sequence[str]) -> list[Any]:
    """What a model shows of each text asked for alone, so that a step has no other, and then of each among all.

    None where it shows nothing. The model is closed.
    """
    asked = [Read(text, layers_of(model.layers)) for text in texts]
    found: dict[tuple[int, Read], Any] = {}
    for some in [*([one] for one in asked), asked]:
        try:
            found |= {(len(some), one.request): one.states for one in model.hidden(some)}
        except ModelError:  # those that came before it are lost, too
            continue
    model.close()
    return [found.get((together, one)) for together in (1, len(asked)) for one in asked]


def compared(given: Sequence[Any], right: Sequence[Any]) -> dict[str, Any]:
    """By how much states are off, as a share of the largest value, and of how many tokens texts are that have none."""
    lengths = [*map(str, LENGTHS), *(f"{n} among others" for n in LENGTHS)]
    missing = [n for n, one in zip(lengths, given, strict=True) if one is None]
    off = [float(abs(a - b).max() / abs(b).max()) for a, b in zip(given, right, strict=True) if a is not None]
    most = max(off, default=None)
    said = "no states at all" if most is None else f"off by {most:.4f} of the largest value at most"
    said += f"; none came of texts of these tokens: {', '.join(missing)}" if missing else ", none missing"
    right_ones = not missing and most is not None and most <= WITHIN
    return {"off": most, "missing": missing, "ok": right_ones, "said": said}
