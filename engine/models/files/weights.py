"""Where a model's files lie, and the hash that tells weights apart."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from engine.core.errors import ModelError
from engine.models.files import embedded
from engine.models.files.source import Source


def files_of(source: Source) -> str:
    """The folder or hub name that the libraries load; an embedded model is made ready first. Raises ModelError."""
    if source.servers:
        raise ModelError(
            "the weights of a model behind servers are not here",
            "Training and merging want its files: name a folder or a Hugging Face name. Nothing was lost.",
        )
    return str(embedded.ensure(source.name)) if source.embedded else source.path


def fingerprint_of(path: str, dtype: str) -> str:
    """A hash of configuration, tokenizer and weights: a file's bytes up to 2 GB, else its ends and its size."""
    folder = Path(path)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download  # heavy, and not needed for a folder

        folder = Path(snapshot_download(path, local_files_only=True))
    digest = hashlib.sha256(dtype.encode())
    for file in sorted(folder.iterdir()):
        if file.suffix not in {".safetensors", ".bin"} and file.name not in {"config.json", "tokenizer.json"}:
            continue
        digest.update(file.name.encode())
        digest.update(_file_hash(file))
    return digest.hexdigest()[:16]


def _file_hash(file: Path) -> bytes:
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= 2 << 30:
            return hashlib.file_digest(stream, "sha256").digest()
        head = stream.read(1 << 20)
        stream.seek(-(1 << 20), os.SEEK_END)
        return hashlib.sha256(head + stream.read() + json.dumps(size).encode()).digest()
