"""The one door to language models: two streams, generate and score.

Importing this module imports no model library; `load` does. A base model sees exactly the text that a request holds,
after its own BOS where it needs one: no chat template exists behind this door, unless an instruct model is loaded as a
reference, for chat.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.errors import ModelError, ModelUnknown

__all__ = [
    "Completion",
    "Decoding",
    "Generate",
    "LabelScores",
    "Model",
    "ModelError",
    "Score",
    "load",
    "request_id",
    "resolve",
]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are chosen. Temperature 0 is greedy; top_k 0 and top_p 1 switch that filter off.

    The order is temperature, top-k, top-p, so that nothing ever sorts the whole vocabulary.
    """

    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generate:
    """A text to be continued. `shared` says how many first characters many requests have in common.

    `shared` is a hint for speed and no part of the identity.
    """

    prompt: str
    decoding: Decoding
    seed: int
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back: text without the stop sequence, all its token ids (those of the stop sequence included)."""

    request: Generate
    text: str
    token_ids: tuple[int, ...]
    n_prompt_tokens: int
    stop_reason: str  # stop, eos or length
    stop_text: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """A prompt and the labels whose log-probabilities as its continuation are asked for."""

    prompt: str
    labels: tuple[str, ...]
    shared: int = 0


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Log-probability in nats of each label (summed over its tokens) and the number of its tokens."""

    request: Score
    logprobs: tuple[float, ...]
    n_tokens: tuple[int, ...]


class Model(Protocol):
    """A loaded language model. Requests are pulled as there is room; answers come in the order they are finished.

    `use` puts an adapter's folder in front of the base weights, or takes it away (None): the `fingerprint` follows.
    `chat` is a conversation as the model's own template writes it; None of a model that was not loaded for chat.
    """

    name: str
    fingerprint: str
    facts: dict[str, Any]

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]: ...

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]: ...

    def encoding(self, text: str) -> Encoding: ...

    def use(self, adapter: Path | None, sha256: str = "") -> None: ...

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a model is really fed for a text: for the contamination guard and for tests."""

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    declared_bos: int | None
    chat_ids: frozenset[int]  # special tokens that only a chat format uses


def request_id(fingerprint: str, request: Generate | Score) -> str:
    """The hash of all that determines the answer to a request."""
    identity: dict[str, Any] = {"model": fingerprint, "prompt": request.prompt}
    if isinstance(request, Generate):
        identity |= {"decoding": asdict(request.decoding), "seed": request.seed}
    else:
        identity |= {"labels": request.labels}
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def adapter_fingerprint(base: str, sha256: str) -> str:
    """The fingerprint of base weights with an adapter, whose files have the hash `sha256`, in front of them."""
    return hashlib.sha256(f"{base} {sha256}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's files are and what is known of it before it is loaded."""

    name: str
    path: str  # a folder, or a name on the Hugging Face hub
    license: str
    notice: str
    embedded: bool
    servers: tuple[str, ...] = ()  # addresses that answer in place of files


def resolve(name: str | None) -> Source:
    """Find a model by name, path or the addresses of servers without loading it; None is the embedded base model.

    Raises ModelUnknown where a path does not exist or a name can't be a model's.
    """
    from engine.models import addresses, embedded

    name = name or embedded.GEMMA
    if addresses.are_addresses(name):
        servers, _ = addresses.parse(name)
        return Source(name, name, "see the model's own card", "", embedded=False, servers=servers)
    if name in embedded.MODELS:
        model = embedded.MODELS[name]
        return Source(name, name, model.license, model.notice, embedded=True)
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return Source(name, str(folder.resolve()), "see the model's own card", "", embedded=False)
    looks_like_hub_name = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not folder.exists()
    if looks_like_hub_name:
        return Source(name, name, "see the model's own card", "", embedded=False)
    known = ", ".join(embedded.MODELS)
    raise ModelUnknown(
        f"no model {name!r}",
        f"Name one of the embedded models ({known}), a folder with config.json, a Hugging Face name such as "
        "Qwen/Qwen2.5-32B, or servers such as http://host:8000/v1#name. No run was started.",
    )


def local_folder(source: Source) -> Path | None:
    """The folder with a model's files where it is on this machine already; fetches and converts nothing."""
    from engine.models import embedded

    if source.servers:
        return None
    if source.embedded:
        return embedded.folder(source.name) if embedded.is_converted(source.name) else None
    if Path(source.path).is_dir():
        return Path(source.path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source.path, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None


def load(name: str | None, *, batch_size: int | None = None, chat: bool = False) -> Model:
    """Load a model behind this door. Takes a second from the cache, half a minute the first time, more with vLLM.

    vLLM answers where it is installed and a GPU is there, transformers elsewhere; CAI_BACKEND names one of the two.

    With `chat` it keeps its chat template, and special tokens that a prompt spells are special: for an instruct model
    that a base model is compared with, never for the base itself.

    Raises ModelError with the reason where it can't be found, fetched or fitted into memory.
    """
    source = resolve(name)
    if source.servers:
        from engine.models.openai_backend import OpenAIModel

        return OpenAIModel.load(source, batch_size=batch_size, chat=chat)
    from engine.models.vllm_choice import is_wanted

    if is_wanted():
        from engine.models.vllm_backend import VllmModel

        return VllmModel.load(source, batch_size=batch_size, chat=chat)
    from engine.models.transformers_backend import TransformersModel

    return TransformersModel.load(source, batch_size=batch_size, chat=chat)
