"""The transformers backend: the embedded default on a CPU, and any Hugging Face causal LM on a CPU or a GPU.

Rows that are written are refilled as they finish, finished ones cost nothing, what is scored is packed without padding,
a shared few-shot prefix is computed once, and only positions that are asked about meet the output matrix. Weights are
computed in float32 on a CPU: bfloat16 steps near a logit of 16 are 0.06 to 0.125, as large as some margins, and would
make a result depend on its batch.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from engine.core.errors import ModelError, first_line
from engine.models.files.loading import causal_lm
from engine.models.files.source import Source
from engine.models.files.tokenizer import Text, end_ids
from engine.models.files.weights import files_of, fingerprint_of
from engine.models.local.forward import Forward, common_beginning
from engine.models.local.sampling import choose, uniforms
from engine.models.local.slots import SlotCache
from engine.models.requests import Completion, Encoding, Generate, LoraFiles, adapter_fingerprint

CPU_BATCH = 16
GPU_BATCH = 64
SPARE_CANDIDATES = 64  # candidates kept beyond top-k while the output matrix is read in bfloat16
LONGEST_STOP_TOKENS = 24  # how many last tokens are decoded to look for a stop sequence


@dataclass
class _Row:
    request: Generate
    prompt: tuple[int, ...]
    uniforms: NDArray[np.float64]
    written: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens that lie in the cache: all but the one just chosen."""
        return len(self.prompt) + max(len(self.written) - 1, 0)


class TransformersModel(Forward):
    """A causal language model behind the two streams. One at a time holds the device."""

    def __init__(
        self, source: Source, model: Any, text: Text, ends: frozenset[int], fingerprint: str, batch_size: int
    ) -> None:
        super().__init__(model, text)
        self.name = source.name
        self.fingerprint = self._base_fingerprint = fingerprint
        self.adaptable = source.name if source.embedded else source.path
        self.in_use: LoraFiles | None = None
        self._peft: Any = None  # the same weights with the adapters that were used so far
        self.batch_size = batch_size
        self._ends = ends
        # Read in bfloat16 the output matrix costs a third; the few candidates are then computed in full precision.
        self._rough_head = self._head.detach().to(torch.bfloat16) if self._head.dtype == torch.float32 else None
        self.facts = {
            "backend": "transformers",
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "device": str(self._device),
            "dtype": str(self._head.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "batch_size": batch_size,
            "license": source.license,
            "context": self._context,
            "base_fingerprint": fingerprint,
        }

    @classmethod
    def load(cls, source: Source, *, batch_size: int | None = None, chat: bool = False) -> TransformersModel:
        """Load weights and tokenizer, with any chat template removed unless `chat` is asked for. Raises ModelError."""
        path = files_of(source)
        on_gpu = torch.cuda.is_available()
        try:
            text = Text.of(path, chat=chat)
            ends = end_ids(path, text.tokenizer)
            model = causal_lm(path, dtype=torch.bfloat16 if on_gpu else torch.float32, attn_implementation="sdpa")
        except (OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
            raise ModelError(
                f"the model {source.name!r} could not be loaded: {first_line(error)}",
                "Check the name, the network or the folder, and the free memory (`cai doctor`). Nothing was lost: "
                "`cai resume` goes on once it loads.",
            ) from error
        model = model.eval().to("cuda" if on_gpu else "cpu")
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        dtype = str(model.get_output_embeddings().weight.dtype)
        size = batch_size or (GPU_BATCH if on_gpu else CPU_BATCH)
        return cls(source, model, text, ends, fingerprint_of(path, dtype), size)

    def close(self) -> None:
        """Give the device's memory back."""
        del self._model, self._decoder, self._head, self._rough_head, self._peft
        self._prefixes.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def use(self, adapter: Path | None, sha256: str = "") -> None:
        """Answer with an adapter from now on, or with the base weights alone; `sha256` is that of the adapter's files.

        The base weights stay where they are: an adapter adds its own beside them. Raises ModelError.
        """
        self._prefixes.clear()
        if adapter is None:
            self.fingerprint, self.in_use = self._base_fingerprint, None
            if self._peft is not None:
                self._peft.base_model.disable_adapter_layers()
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

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None:
        """A conversation as the model's own chat template writes it, with the answer left open and without its BOS."""
        return self._text.chat(history, prompt)

    def encoding(self, text: str) -> Encoding:
        """What the model is fed for a text."""
        return self._text.encoding(text)

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Continue each prompt; see engine.models.requests.Model. Raises PromptTooLong."""
        waiting = iter(requests)
        cache = SlotCache()
        rows: list[_Row] = []
        exhausted = False
        while True:
            free = self.batch_size - len(rows)
            # Refilling in groups keeps the prefill's matrices large.
            if not exhausted and (not rows or free >= max(1, self.batch_size // 4)):
                new = [self._row(request) for request in itertools.islice(waiting, free)]
                exhausted = len(new) < free
                if new:
                    logits, ids = self._admit(cache, rows, new)
                    rows.extend(new)
                    self._choose(new, logits, ids)
                    yield from self._finished(cache, rows)
            if not rows:
                if exhausted:
                    return
                continue
            logits, ids = self._step(cache, rows)
            self._choose(rows, logits, ids)
            yield from self._finished(cache, rows)

    def _row(self, request: Generate) -> _Row:
        prompt = self._text.fitting(request.prompt, request.decoding.max_tokens, self._context)
        return _Row(request, prompt, uniforms(request.seed, request.decoding.max_tokens))

    def _admit(
        self, cache: SlotCache, rows: list[_Row], new: list[_Row]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        prefixes = [self._shared(row.request) for row in new]
        hidden, starts = self._prefill(cache, len(rows), [row.prompt for row in new], prefixes)
        last = [len(row.prompt) - 1 - start for row, start in zip(new, starts, strict=True)]
        return self._candidates(hidden[range(len(new)), last], new)

    def _step(self, cache: SlotCache, rows: list[_Row]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        tokens = torch.tensor([[row.written[-1]] for row in rows])
        hidden = self._forward(cache, slice(0, len(rows)), tokens, torch.tensor([row.length for row in rows]))
        return self._candidates(hidden[:, -1], rows)

    def _finished(self, cache: SlotCache, rows: list[_Row]) -> Iterator[Completion]:
        """Take finished rows out of the batch, moving the last row into each hole."""
        index = 0
        while index < len(rows):
            done = self._ended(rows[index])
            if done is None:
                index += 1
                continue
            last = rows.pop()
            if index < len(rows):
                rows[index] = last
                cache.move(len(rows), index, last.length)
            yield done

    def _ended(self, row: _Row) -> Completion | None:
        decoding, written = row.request.decoding, row.written
        tail = self._text.decode(written[-LONGEST_STOP_TOKENS:])
        reason, stop, text = "", None, ""
        if written[-1] in self._ends:
            reason, text = "eos", self._text.decode(written[:-1])
        elif any(stop in tail for stop in decoding.stop):
            whole = self._text.decode(written)
            cut, stop = min((whole.find(stop), stop) for stop in decoding.stop if stop in whole)
            reason, text = "stop", whole[:cut]
        elif len(written) >= decoding.max_tokens:
            reason, text = "length", self._text.decode(written)
        if not reason:
            return None
        return Completion(row.request, text, tuple(written), len(row.prompt), reason, stop)

    def _choose(self, rows: list[_Row], logits: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        for index, row in enumerate(rows):
            uniform = row.uniforms[len(row.written)]
            row.written.append(choose(logits[index], ids[index], row.request.decoding, uniform))

    def _candidates(self, hidden: torch.Tensor, rows: list[_Row]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits and ids of the tokens that can be chosen ([rows, candidates]); all of them where top-k is off."""
        decodings = [row.request.decoding for row in rows]
        everything = any(d.temperature > 0 and not d.top_k for d in decodings)
        if everything:
            logits = self._logits(hidden, self._head).float()
            ids = torch.arange(logits.shape[-1]).expand_as(logits)
        elif self._rough_head is None:
            logits, ids = self._logits(hidden, self._head).float().topk(max(d.top_k or 1 for d in decodings))
        else:
            wanted = max(d.top_k or 1 for d in decodings) + SPARE_CANDIDATES
            ids = self._logits(hidden.to(torch.bfloat16), self._rough_head).topk(wanted, sorted=False).indices
            logits = self._softcap(torch.einsum("rcd,rd->rc", self._head[ids], hidden))
        return logits.cpu().numpy(), ids.cpu().numpy()

    def _prefill(
        self, cache: SlotCache, first: int, prompts: list[tuple[int, ...]], prefixes: list[tuple[int, ...]]
    ) -> tuple[torch.Tensor, list[int]]:
        """Run prompts into the slots from `first` on. Returns hidden states [rows, tokens, size] and, for each row,
        the position that its first hidden state belongs to (the length of the prefix that was not computed again)."""
        starts = []
        slots_of: dict[tuple[int, ...], list[int]] = {}
        for row, (prompt, prefix) in enumerate(zip(prompts, prefixes, strict=True)):
            beginning = common_beginning(prompt, prefix)
            starts.append(len(beginning))
            if beginning:
                slots_of.setdefault(beginning, []).append(first + row)
            else:
                cache.forget(first + row)
        for prefix, slots in slots_of.items():
            cache.write(slots, prefix, self._prefix_state(prefix))
        longest = max(len(prompt) - start for prompt, start in zip(prompts, starts, strict=True))
        tokens = torch.zeros((len(prompts), longest), dtype=torch.long)
        for row, (prompt, start) in enumerate(zip(prompts, starts, strict=True)):
            tokens[row, : len(prompt) - start] = torch.tensor(prompt[start:])
        return self._forward(cache, slice(first, first + len(prompts)), tokens, torch.tensor(starts)), starts
