"""Hidden states of the labelled texts, kept in the user's cache: they follow from the model and the text alone.

They are no part of a store: a probe that was fitted on them is. Each file holds the texts of one chunk, written aside
and renamed, so that what was computed before a kill is found again.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.models.answers import Answers
from engine.models.files.embedded import cache_root
from engine.models.requests import Read
from engine.spec.provenance import short_hash

CHUNK = 128  # texts a file: what a kill costs at most

States = NDArray[np.float32]


def states_of(answers: Answers, texts: Sequence[str], layers: tuple[int, ...]) -> States:
    """Hidden states of texts, [texts, layers, 2, size], out of the cache where they are there.

    Raises Interrupted where the run is to stop; what was computed until then is kept.
    """
    folder = cache_root().parent / "states" / answers.model.fingerprint
    found = []
    for start in range(0, len(texts), CHUNK):
        some = texts[start : start + CHUNK]
        path = folder / f"{short_hash(repr(layers), *some)}.npy"
        states = _kept(path, len(some), len(layers))
        if states is None:
            states = _computed(answers, some, layers)
            _keep(path, states)
        found.append(states)
    return np.concatenate(found)


def _computed(answers: Answers, texts: Sequence[str], layers: tuple[int, ...]) -> States:
    requests = [Read(text, layers) for text in texts]
    found = {}
    for answer in answers.model.hidden(dict.fromkeys(requests)):
        found[answer.request] = answer.states
        answers.check()
    return np.stack([found[request] for request in requests])


def _kept(path: Path, n_texts: int, n_layers: int) -> States | None:
    try:
        states: States = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = states.ndim == 4 and states.shape[:3] == (n_texts, n_layers, 2) and states.dtype == np.float32
    return states if whole and bool(np.isfinite(states).all()) else None


def _keep(path: Path, states: States) -> None:
    """Keep them where that is possible: a full disk costs the next fit some seconds, and nothing else."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            np.save(file, states)
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
