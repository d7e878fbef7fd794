"""The transformers backend: the embedded default on a CPU, and any Hugging Face causal LM on a CPU or a GPU.

It answers by the fast path (`fast.py`, `forward.py`) where the self-check finds that this gives what the model's own
forward pass gives, and by the plain path (`plain.py`) elsewhere. Weights are computed in float32 on a CPU: bfloat16
steps near a logit of 16 are 0.06 to 0.125, as large as some margins, and would make a result depend on its batch.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from engine.core.errors import ModelError, first_line
from engine.models.files.loading import causal_lm
from engine.models.files.source import Source
from engine.models.files.tokenizer import Text, end_ids
from engine.models.files.weights import files_of, fingerprint_of
from engine.models.local.checking import settled
from engine.models.local.way import context_of
from engine.models.requests import (
    Completion,
    Encoding,
    Generate,
    HiddenStates,
    LabelScores,
    LoraFiles,
    Read,
    Score,
    adapter_fingerprint,
)

CPU_BATCH = 16
GPU_BATCH = 64


class TransformersModel:
    """A causal language model behind the two streams. One at a time holds the device."""

    def __init__(
        self, source: Source, model: Any, text: Text, ends: frozenset[int], fingerprint: str, batch_size: int
    ) -> None:
        self.name = source.name
        self.fingerprint = self._base_fingerprint = fingerprint
        self.adaptable = source.name if source.embedded else source.path
        self.in_use: LoraFiles | None = None
        self._peft: Any = None  # the same weights with the adapters that were used so far
        self._model, self._text, self._ends = model, text, ends
        self._wanted_batch = batch_size
        self.facts = {
            "backend": "transformers",
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "batch_size": batch_size,
            "license": source.license,
            "context": context_of(model),
            "base_fingerprint": fingerprint,
        }
        self._settle()

    def _settle(self) -> None:
        """Choose the path for the weights that are in use now. Raises ModelError where none is right."""
        self._path, found = settled(self._model, self._text, self._ends, self._wanted_batch, self.fingerprint)
        self.layers = self._path.layers
        self.facts |= {"batch_size": self.batch_size} | found.facts()

    @property
    def batch_size(self) -> int:
        """How many texts are worked on at once."""
        return self._path.batch_size

    @classmethod
    def load(cls, source: Source, *, batch_size: int | None = None, chat: bool = False) -> TransformersModel:
        """Load weights and tokenizer, with any chat template removed unless `chat` is asked for. Raises ModelError."""
        path = files_of(source)
        on_gpu = torch.cuda.is_available()
        try:
            text = Text.of(path, chat=chat)
            ends = end_ids(path, text.tokenizer)
            model = causal_lm(path, dtype=torch.bfloat16 if on_gpu else torch.float32)
        except (OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
            raise ModelError(
                f"the model {source.name!r} could not be loaded: {first_line(error)}",
                "Check the name, the network or the folder, and the free memory (`cai doctor`). Nothing was lost: "
                "`cai resume` goes on once it loads.",
            ) from error
        model = model.eval().to("cuda" if on_gpu else "cpu")
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        # What it says of decoding was read: penalties and the like are no part of what is asked.
        model.generation_config = transformers.GenerationConfig()
        size = batch_size or (GPU_BATCH if on_gpu else CPU_BATCH)
        return cls(source, model, text, ends, fingerprint_of(path, str(model.dtype)), size)

    def close(self) -> None:
        """Give the device's memory back."""
        del self._model, self._path, self._peft
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def use(self, adapter: Path | None, sha256: str = "") -> None:
        """Answer with an adapter from now on, or with the base weights alone; `sha256` is that of the adapter's files.

        The base weights stay where they are: an adapter adds its own beside them. Raises ModelError.
        """
        if adapter is None:
            self.fingerprint, self.in_use = self._base_fingerprint, None
            if self._peft is not None:
                self._peft.base_model.disable_adapter_layers()
            self._settle()
            return
        name = sha256[:16] or adapter.name
        try:
            if self._peft is None:
                from peft import PeftModel  # heavy, and only for adapters

                self._peft = PeftModel.from_pretrained(self._model, str(adapter), adapter_name=name)
            elif name not in self._peft.peft_config:
                self._peft.load_adapter(str(adapter), adapter_name=name)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise ModelError(
                f"the adapter in {adapter} could not be loaded: {first_line(error)}",
                "It must be of this base model. Train it again, or name another; nothing was lost.",
            ) from error
        self._peft.base_model.enable_adapter_layers()
        self._peft.set_adapter(name)
        for parameter in self._model.parameters():
            parameter.requires_grad_(False)
        self._peft.eval()
        self.fingerprint = adapter_fingerprint(self._base_fingerprint, sha256)
        self.in_use = LoraFiles(adapter, sha256)
        self._settle()

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None:
        """A conversation as the model's own chat template writes it, with the answer left open and without its BOS."""
        return self._text.chat(history, prompt)

    def encoding(self, text: str) -> Encoding:
        """What the model is fed for a text."""
        return self._text.encoding(text)

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Continue each prompt; see engine.models.requests.Model. Raises PromptTooLong."""
        return self._path.generate(requests)

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        """Log-probabilities of labels as continuations; see engine.models.requests.Model. Raises PromptTooLong."""
        return self._path.score(requests)

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        """Hidden states of texts; see engine.models.requests.Model. Raises PromptTooLong."""
        return self._path.hidden(requests)
