"""Is this model fit for a run? Its files, its scores against a plain forward pass, and what its tokenizer feeds.

The model is loaded as a run would load it; nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import psutil

from engine.critics.label import LETTERS, WORDS
from engine.doctor.machine import Finding, memory
from engine.models import registry
from engine.models.files.source import Source, local_folder, resolve
from engine.models.files.tokenizer import tokenizer_of
from engine.models.requests import Model, Score
from engine.models.selfcheck import SelfCheck, of_facts
from engine.quality.guard import SENTINELS, encoding_fault

ENCODED = SENTINELS[:4]  # those that the guard looks at


def examine_model(name: str | None) -> dict[str, Any]:
    """Load a model and try it: {model, healthy, checks: [{name, state, detail, elapsed_s}], self_check}.

    `self_check` is what was found when it was loaded. Raises ModelError for a model that can't be loaded.
    """
    source = resolve(name)
    with closing(registry.load(name)) as model:
        tried = of_facts(model.facts)
        assert tried is not None, "the registry checks what it loads"
        checks = [
            _self_checked(tried),
            *_tokenizer(source, model),
            _encoding(model),
            _labels(model),
            _context(model),
            _memory(model),
        ]
    healthy = not any(check.state == "failed" for check in checks)
    return {
        "model": source.name,
        "healthy": healthy,
        "checks": [asdict(check) for check in checks],
        "self_check": asdict(tried),
    }


def _self_checked(tried: SelfCheck) -> Finding:
    return Finding("scores", "warning" if tried.doubtful else "ok", tried.told(), round(tried.seconds, 3))


def _tokenizer(source: Source, model: Model) -> Iterator[Finding]:
    """What is read from the tokenizer's own files, or what servers told of theirs."""
    folder = local_folder(source)
    if folder is None:
        special = " ".join(model.facts.get("read_as_special_tokens", ())) or "nothing"
        told = f"BOS {model.facts.get('bos_check', 'not told')}; read as special tokens: {special}"
        yield Finding("tokenizer", "ok", told, 0.0)
        return
    tokenizer = tokenizer_of(str(folder))
    said = [
        f"{len(tokenizer):,} tokens",
        f"BOS {tokenizer.bos_token or 'none'}",
        f"EOS {tokenizer.eos_token or 'none'}",
    ]
    padded_by_eos = tokenizer.eos_token_id is not None and tokenizer.pad_token_id == tokenizer.eos_token_id
    said += ["padding is EOS, which stays in the loss"] if padded_by_eos else []
    said += ["its chat template is not used"] if tokenizer.chat_template is not None else []
    if tokenizer.eos_token_id is None:
        yield Finding("tokenizer", "warning", f"{', '.join(said)}; without EOS no training data can be made", 0.0)
    else:
        yield Finding("tokenizer", "ok", ", ".join(said), 0.0)


def _encoding(model: Model) -> Finding:
    read = [model.encoding(text) for text in ENCODED]
    faults = [fault for fault in map(encoding_fault, read) if fault]
    front = "nothing" if read[0].declared_bos is None else read[0].tokens[0]
    good = f"{front} in front of each of {len(read)} prompts, and no chat token"
    return Finding("encoding", "failed" if faults else "ok", faults[0] if faults else good, 0.0)


def _labels(model: Model) -> Finding:
    """Which of the critics' labels are one token; the others cost a pass each and are scored by their sum."""
    labels = tuple(
        dict.fromkeys(label for pair in (*WORDS["instruction"], *WORDS["sample"], *LETTERS) for label in pair)
    )
    (found,) = model.score([Score(ENCODED[0], labels)])
    longer = [f"{label!r} {n}" for label, n in zip(labels, found.n_tokens, strict=True) if n != 1]
    if longer:
        return Finding("labels", "warning", f"more than one token, scored by their sum: {', '.join(longer)}", 0.0)
    return Finding("labels", "ok", f"one token each: {', '.join(map(repr, labels))}", 0.0)


def _context(model: Model) -> Finding:
    context = model.facts.get("context")
    return Finding("context", "ok" if context else "warning", f"{context:,} tokens" if context else "not told", 0.0)


def _memory(model: Model) -> Finding:
    used = f"{psutil.Process().memory_info().rss / 2**30:.1f} GiB in this process with the model"
    where = ", ".join(str(model.facts[name]) for name in ("backend", "device", "dtype") if name in model.facts)
    return Finding("memory", "ok", f"{used} ({where}); {memory()[1]}", 0.0)
