"""The transformers backend: the embedded default on a CPU, and any Hugging Face causal LM on a CPU or a GPU.

Rows that are written are refilled as they finish, finished ones cost nothing, what is scored is packed without padding,
a shared few-shot prefix is computed once, and only positions that are asked about meet the output matrix. Weights are
computed in float32 on a CPU: bfloat16 steps near a logit of 16 are 0.06 to 0.125, as large as some margins, and would
make a result depend on its batch.
"""

from __future__ import annotations

import functools
import gc
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from engine.core.errors import ModelError
from engine.models.files.tokenizer import Text, end_ids
from engine.models.files.weights import files_of, fingerprint_of
from engine.models.local.packing import Pack, PackCache
from engine.models.local.sampling import choose, uniforms
from engine.models.local.slots import SlotCache
from engine.models.requests import Completion, Encoding, Generate, LabelScores, Score, adapter_fingerprint
from engine.models.source import Source

CPU_BATCH = 16
GPU_BATCH = 64
SPARE_CANDIDATES = 64  # candidates kept beyond top-k while the output matrix is read in bfloat16
HELD_PREFIXES = 8
LONGEST_STOP_TOKENS = 24  # how many last tokens are decoded to look for a stop sequence
PACK_TOKENS = 32  # times the batch size: tokens that are scored in one pass
WINDOW_TOKENS = 128  # times the batch size: tokens whose answers come together
LOGIT_ROWS = 256  # rows that meet the output matrix at once: fewer read it too often, more fill the memory


@dataclass(frozen=True)
class _Fed:
    """Tokens that are fed to score one label of a request, or all of them where each is one token."""

    request: int  # its place in the window
    beginning: tuple[int, ...]
    text: list[int]  # what follows the beginning
    asked: list[tuple[int, int, int]]  # place in text, token whose log-probability there counts, label


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


class TransformersModel:
    """A causal language model behind the two streams. One at a time holds the device."""

    def __init__(
        self, source: Source, model: Any, text: Text, ends: frozenset[int], fingerprint: str, batch_size: int
    ) -> None:
        self.name = source.name
        self.fingerprint = self._base_fingerprint = fingerprint
        self._peft: Any = None  # the same weights with the adapters that were used so far
        self.batch_size = batch_size
        self._model = model
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings().weight
        self._text = text
        self._encode_shared = functools.lru_cache(HELD_PREFIXES)(text.encode)
        self._ends = ends
        self._device = model.device
        self._window = getattr(model.config.get_text_config(), "sliding_window", None)
        self._layer_types = frozenset(getattr(model.config.get_text_config(), "layer_types", None) or ())
        self._context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 2048))
        self._prefixes: OrderedDict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = OrderedDict()
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
        from transformers import AutoModelForCausalLM  # heavy

        path = files_of(source)
        on_gpu = torch.cuda.is_available()
        try:
            text = Text.of(path, chat=chat)
            ends = end_ids(path, text.tokenizer)
            model = AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.bfloat16 if on_gpu else torch.float32, attn_implementation="sdpa"
            )
        except (OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
            raise ModelError(
                f"the model {source.name!r} could not be loaded: {_first_line(error)}",
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
            self.fingerprint = self._base_fingerprint
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
                f"the adapter in {adapter} could not be loaded: {_first_line(error)}",
                "It must be of this base model. Train it again, or name another; nothing was lost.",
            ) from error
        self._peft.base_model.enable_adapter_layers()
        self._peft.set_adapter(name)
        for parameter in self._model.parameters():
            parameter.requires_grad_(False)
        self._peft.eval()
        self.fingerprint = adapter_fingerprint(self._base_fingerprint, sha256)

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

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        """Log-probabilities of labels as continuations; see engine.models.requests.Model. Raises PromptTooLong."""
        waiting = iter(requests)
        while True:
            window: list[tuple[Score, list[list[int]]]] = []
            fed: list[_Fed] = []
            while sum(len(one.text) for one in fed) < WINDOW_TOKENS * self.batch_size:
                request = next(waiting, None)
                if request is None:
                    break
                labels = [self._text.plain(label) for label in request.labels]
                fed += self._fed(len(window), request, labels)
                window.append((request, labels))
                if len(window) == 4 * self.batch_size:
                    break
            if not window:
                return
            yield from self._scored(window, fed)

    def _fed(self, at: int, request: Score, labels: list[list[int]]) -> list[_Fed]:
        """What to feed for a request: one text where its labels are of one token, else one for each label."""
        prompt = self._text.fitting(request.prompt, max(map(len, labels), default=0), self._context)
        beginning = _common(prompt, self._shared(request))
        text = list(prompt[len(beginning) :])
        last = len(text) - 1
        if all(len(label) == 1 for label in labels):
            return [_Fed(at, beginning, text, [(last, label[0], number) for number, label in enumerate(labels)])]
        return [
            _Fed(at, beginning, text + label[:-1], [(last + k, token, number) for k, token in enumerate(label)])
            for number, label in enumerate(labels)
        ]

    def _scored(self, window: list[tuple[Score, list[list[int]]]], fed: list[_Fed]) -> Iterator[LabelScores]:
        vectors, asked = [], []
        places = 0
        for some in _packs(fed, PACK_TOKENS * self.batch_size):
            hidden, starts = self._packed(some[0].beginning, [one.text for one in some])
            for start, one in zip(starts, some, strict=True):
                wanted = sorted({at for at, *_ in one.asked})  # labels of one token are asked about at one place
                vectors.append(hidden[torch.tensor([start + at for at in wanted], dtype=torch.long)])
                asked += [(places + wanted.index(at), token, (one.request, label)) for at, token, label in one.asked]
                places += len(wanted)
        found = [[0.0] * len(labels) for _, labels in window]
        # The output matrix is read once for all packs: it is larger than the rest of a small model.
        logprobs = self._logprobs(torch.cat(vectors), [at for at, *_ in asked], [token for _, token, _ in asked])
        for (*_, (request, label)), logprob in zip(asked, logprobs, strict=True):
            found[request][label] += logprob
        for (score, labels), values in zip(window, found, strict=True):
            yield LabelScores(score, tuple(values), tuple(map(len, labels)))

    def _packed(self, beginning: tuple[int, ...], texts: list[list[int]]) -> tuple[torch.Tensor, list[int]]:
        """Hidden states of texts behind one beginning [tokens, size], and where each text's begin."""
        state = self._prefix_state(beginning) if beginning else []
        pack = Pack(len(beginning), texts, self._device)
        mask: Any = pack.seen()
        if self._layer_types - {"full_attention"}:
            mask = {"full_attention": mask, "sliding_attention": pack.seen(self._window)}
        return self._decoded(pack.tokens, pack.positions, mask, PackCache(state))[0], pack.starts

    def _logprobs(self, vectors: torch.Tensor, places: list[int], tokens: list[int]) -> list[float]:
        """Log-probabilities of tokens, each behind the hidden state at its place among `vectors` ([places, size])."""
        normaliser = torch.cat([self._normaliser(some) for some in vectors.split(LOGIT_ROWS)])
        found: list[float] = []
        for start in range(0, len(places), LOGIT_ROWS):
            behind = torch.tensor(places[start : start + LOGIT_ROWS], device=vectors.device)
            head = self._head[torch.tensor(tokens[start : start + LOGIT_ROWS], device=vectors.device)]
            # In float32 whatever the weights are: bfloat16 logits near 16 are an eighth apart, as much as some margins.
            logits = self._softcap((vectors[behind].float() * head.float()).sum(-1))
            found += (logits - normaliser[behind]).tolist()
        return found

    def _normaliser(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(self._logits(vectors, self._head).float(), dim=-1)

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

    def _logits(self, hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        return self._softcap(hidden @ head.T)

    def _softcap(self, logits: torch.Tensor) -> torch.Tensor:
        cap = getattr(self._model.config.get_text_config(), "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def _prefill(
        self, cache: SlotCache, first: int, prompts: list[tuple[int, ...]], prefixes: list[tuple[int, ...]]
    ) -> tuple[torch.Tensor, list[int]]:
        """Run prompts into the slots from `first` on. Returns hidden states [rows, tokens, size] and, for each row,
        the position that its first hidden state belongs to (the length of the prefix that was not computed again)."""
        starts = []
        slots_of: dict[tuple[int, ...], list[int]] = {}
        for row, (prompt, prefix) in enumerate(zip(prompts, prefixes, strict=True)):
            beginning = _common(prompt, prefix)
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

    def _prefix_state(self, prefix: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        state = self._prefixes.get(prefix)
        if state is None:
            cache = SlotCache()
            self._forward(cache, slice(0, 1), torch.tensor([prefix]), torch.tensor([0]))
            state = self._prefixes[prefix] = cache.read(0, len(prefix))
            if len(self._prefixes) > HELD_PREFIXES:
                self._prefixes.popitem(last=False)
        self._prefixes.move_to_end(prefix)
        return state

    def _forward(self, cache: SlotCache, slots: slice, tokens: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Hidden states of tokens ([rows, tokens]) whose first one stands at `starts` ([rows])."""
        positions = (starts[:, None] + torch.arange(tokens.shape[1])).to(self._device)
        width = int(positions.max()) + 1
        cache.begin(slots, positions, width)
        columns = torch.arange(width, device=self._device)
        seen = columns <= positions[:, :, None]
        full = seen[:, None]
        mask: Any = full
        if self._layer_types - {"full_attention"}:
            near = seen & (positions[:, :, None] - columns < self._window)
            mask = {"full_attention": full, "sliding_attention": near[:, None]}
        return self._decoded(tokens.to(self._device), positions, mask, cache)

    def _decoded(self, tokens: torch.Tensor, positions: torch.Tensor, mask: Any, cache: Any) -> torch.Tensor:
        out = self._decoder(
            input_ids=tokens, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True
        )
        hidden: torch.Tensor = out.last_hidden_state
        return hidden

    def _shared(self, request: Generate | Score) -> tuple[int, ...]:
        return tuple(self._encode_shared(request.prompt[: request.shared])) if request.shared else ()


def _common(prompt: tuple[int, ...], shared: tuple[int, ...]) -> tuple[int, ...]:
    """The tokens that a prompt has in common with its shared beginning, at least its last one left out.

    A token at the seam may join beginning and item, so that the beginning's own last token is not in the prompt.
    """
    equal = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(prompt, shared, strict=False)))
    return prompt[: min(equal, len(prompt) - 1)]


def _packs(fed: list[_Fed], size: int) -> Iterator[list[_Fed]]:
    """Texts behind the same beginning together, up to so many tokens; one that is longer alone."""
    by_beginning: dict[tuple[int, ...], list[_Fed]] = {}
    for one in fed:
        by_beginning.setdefault(one.beginning, []).append(one)
    for same in by_beginning.values():
        pack: list[_Fed] = []
        for one in same:
            if pack and sum(len(before.text) for before in pack) + len(one.text) > size:
                yield pack
                pack = []
            pack.append(one)
        yield pack


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
