"""The transformers backend: the embedded default on a CPU, and any Hugging Face causal LM on a CPU or a GPU.

Rows are refilled as they finish, a shared few-shot prefix is computed once, finished rows cost nothing, and only the
last position meets the output matrix. Weights are computed in float32 on a CPU: bfloat16 steps near a logit of 16 are
0.06 to 0.125, as large as some margins, and would make a result depend on its batch.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from engine.errors import ModelError, PromptTooLong
from engine.models import Completion, Encoding, Generate, LabelScores, Score, Source, adapter_fingerprint, embedded
from engine.models.sampling import choose, uniforms
from engine.models.slots import SlotCache

CPU_BATCH = 16
GPU_BATCH = 64
SPARE_CANDIDATES = 64  # candidates kept beyond top-k while the output matrix is read in bfloat16
HELD_PREFIXES = 8
LONGEST_STOP_TOKENS = 24  # how many last tokens are decoded to look for a stop sequence
ROLES = ("user", "assistant")  # as chat templates name them
LOGIT_ROWS = 256  # rows that meet the output matrix at once: fewer read it too often, more fill the memory


@dataclass
class _Row:
    request: Generate
    prompt: list[int]
    uniforms: NDArray[np.float64]
    written: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens that lie in the cache: all but the one just chosen."""
        return len(self.prompt) + max(len(self.written) - 1, 0)


class TransformersModel:
    """A causal language model behind the two streams. One at a time holds the device."""

    def __init__(self, source: Source, model: Any, tokenizer: Any, fingerprint: str, batch_size: int) -> None:
        self.name = source.name
        self.fingerprint = self._base_fingerprint = fingerprint
        self._peft: Any = None  # the same weights with the adapters that were used so far
        self.batch_size = batch_size
        self._model = model
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings().weight
        self._tokenizer = tokenizer
        self._chat = tokenizer.chat_template is not None
        self._device = model.device
        self._bos = declared_bos(tokenizer)
        self._window = getattr(model.config.get_text_config(), "sliding_window", None)
        self._layer_types = frozenset(getattr(model.config.get_text_config(), "layer_types", None) or ())
        self._context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 2048))
        self._ends = _end_ids(model, tokenizer)
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
        from transformers import AutoModelForCausalLM, AutoTokenizer

        path = files_of(source)
        on_gpu = torch.cuda.is_available()
        try:
            tokenizer = AutoTokenizer.from_pretrained(path)
            model = AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.bfloat16 if on_gpu else torch.float32, attn_implementation="sdpa"
            )
        except (OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
            raise ModelError(
                f"the model {source.name!r} could not be loaded: {_first_line(error)}",
                "Check the name, the network or the folder, and the free memory (`cai doctor`). Nothing was lost: "
                "`cai resume` goes on once it loads.",
            ) from error
        if not chat:
            tokenizer.chat_template = None
        model = model.eval().to("cuda" if on_gpu else "cpu")
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        dtype = str(model.get_output_embeddings().weight.dtype)
        return cls(
            source, model, tokenizer, fingerprint_of(path, dtype), batch_size or (GPU_BATCH if on_gpu else CPU_BATCH)
        )

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
                from peft import PeftModel

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
        if not self._chat:
            return None
        turns = [{"role": role, "content": text} for pair in history for role, text in zip(ROLES, pair, strict=True)]
        turns.append({"role": ROLES[0], "content": prompt})
        text: str = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text.removeprefix(self._tokenizer.bos_token) if self._bos is not None else text

    def encoding(self, text: str) -> Encoding:
        """What the model is fed for a text."""
        ids = self._encode(text)
        specials = set(self._tokenizer.all_special_ids) - set(_content_ids(self._tokenizer))
        return Encoding(
            tuple(ids), tuple(self._tokenizer.convert_ids_to_tokens(ids)), self._bos, frozenset(specials - {self._bos})
        )

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Continue each prompt; see engine.models.Model. Raises PromptTooLong."""
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
        """Log-probabilities of labels as continuations; see engine.models.Model. Raises PromptTooLong."""
        waiting = iter(requests)
        cache = SlotCache()
        while window := list(itertools.islice(waiting, 4 * self.batch_size)):
            encoded = [
                (request, self._encode(request.prompt), self._shared(request), [self._plain(x) for x in request.labels])
                for request in window
            ]
            for _, prompt, _, labels in encoded:
                self._fitting(len(prompt), max(map(len, labels)), "labels")
            # By prefix, then by length: rows of one batch are padded to its longest.
            encoded.sort(key=lambda item: (item[2], len(item[1]) + max(map(len, item[3]))))
            for start in range(0, len(encoded), self.batch_size):
                yield from self._score_batch(cache, encoded[start : start + self.batch_size])

    def _score_batch(
        self, cache: SlotCache, batch: list[tuple[Score, list[int], tuple[int, ...], list[list[int]]]]
    ) -> Iterator[LabelScores]:
        labels = [tokens for *_, tokens in batch]
        # Labels of one token share one row; longer ones need a row each.
        rows: list[tuple[int, int, list[int]]] = []  # batch index, first label's index, tokens that are fed
        prefixes: list[tuple[int, ...]] = []
        for index, (_, prompt, prefix, _) in enumerate(batch):
            whole = all(len(label) == 1 for label in labels[index])
            for number, label in enumerate(labels[index]):
                if whole and number:
                    break
                rows.append((index, number, prompt if whole else prompt + label[:-1]))
                prefixes.append(prefix)
        found: list[list[float]] = [[0.0] * len(request.labels) for request, *_ in batch]
        for start in range(0, len(rows), self.batch_size):
            some = rows[start : start + self.batch_size]
            hidden, starts = self._prefill(cache, 0, [fed for *_, fed in some], prefixes[start : start + len(some)])
            wanted = []  # row, position in hidden, token id, (batch index, label index)
            for row, (index, number, _) in enumerate(some):
                at = len(batch[index][1]) - 1 - starts[row]
                if all(len(label) == 1 for label in labels[index]):
                    wanted += [(row, at, label[0], (index, k)) for k, label in enumerate(labels[index])]
                else:
                    wanted += [(row, at + k, token, (index, number)) for k, token in enumerate(labels[index][number])]
            for logprob, (*_, (index, number)) in zip(self._logprobs(hidden, wanted), wanted, strict=True):
                found[index][number] += logprob
        for (request, *_), logprobs, tokens in zip(batch, found, labels, strict=True):
            yield LabelScores(request, tuple(logprobs), tuple(len(label) for label in tokens))

    def _logprobs(self, hidden: torch.Tensor, wanted: list[tuple[int, int, int, tuple[int, int]]]) -> list[float]:
        places = sorted({(row, at) for row, at, *_ in wanted})
        number = {place: index for index, place in enumerate(places)}
        vectors = hidden[[row for row, _ in places], [at for _, at in places]]
        normaliser = torch.cat([
            torch.logsumexp(self._logits(vectors[start : start + LOGIT_ROWS], self._head).float(), dim=-1)
            for start in range(0, len(places), LOGIT_ROWS)
        ])  # fmt: skip
        of = torch.tensor([number[row, at] for row, at, *_ in wanted], device=vectors.device)
        tokens = torch.tensor([token for _, _, token, _ in wanted], device=vectors.device)
        # In float32 whatever the weights are: bfloat16 logits near 16 are an eighth apart, as much as some margins.
        logits = self._softcap((vectors[of].float() * self._head[tokens].float()).sum(-1))
        found: list[float] = (logits - normaliser[of]).tolist()
        return found

    def _fitting(self, prompt: int, more: int, what: str) -> None:
        if prompt + more > self._context:
            raise PromptTooLong(
                f"a prompt of {prompt} tokens and {what} of {more} exceed the model's context of {self._context}",
                "Lower the token limit or the number of examples in the spec. What was committed is safe.",
            )

    def _row(self, request: Generate) -> _Row:
        prompt = self._encode(request.prompt)
        self._fitting(len(prompt), request.decoding.max_tokens, "an answer")
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
        tail = self._decode(written[-LONGEST_STOP_TOKENS:])
        reason, stop, text = "", None, ""
        if written[-1] in self._ends:
            reason, text = "eos", self._decode(written[:-1])
        elif any(stop in tail for stop in decoding.stop):
            whole = self._decode(written)
            cut, stop = min((whole.find(stop), stop) for stop in decoding.stop if stop in whole)
            reason, text = "stop", whole[:cut]
        elif len(written) >= decoding.max_tokens:
            reason, text = "length", self._decode(written)
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
        self, cache: SlotCache, first: int, prompts: list[list[int]], prefixes: list[tuple[int, ...]]
    ) -> tuple[torch.Tensor, list[int]]:
        """Run prompts into the slots from `first` on. Returns hidden states [rows, tokens, size] and, for each row,
        the position that its first hidden state belongs to (the length of the prefix that was not computed again)."""
        starts = []
        slots_of: dict[tuple[int, ...], list[int]] = {}
        for row, (prompt, prefix) in enumerate(zip(prompts, prefixes, strict=True)):
            # A token at the seam may join prefix and item: only what is equal is shared, and one token must remain.
            equal = sum(
                1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(prompt, prefix, strict=False))
            )
            equal = min(equal, len(prompt) - 1)
            starts.append(equal)
            if equal:
                slots_of.setdefault(prefix[:equal], []).append(first + row)
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
        out = self._decoder(
            input_ids=tokens.to(self._device),
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        hidden: torch.Tensor = out.last_hidden_state
        return hidden

    def _shared(self, request: Generate | Score) -> tuple[int, ...]:
        return tuple(self._encode(request.prompt[: request.shared])) if request.shared else ()

    def _encode(self, text: str) -> list[int]:
        ids = self._plain(text)
        return ids if self._bos is None else [self._bos, *ids]

    def _plain(self, text: str) -> list[int]:
        # Text that spells a special token stays text: only this backend adds one, the declared BOS. A model that was
        # loaded for chat gets those of its own template.
        plain = not self._chat
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=plain).input_ids
        return ids

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


def files_of(source: Source) -> str:
    """The folder or hub name that the libraries load; an embedded model is made ready first. Raises ModelError."""
    if source.servers:
        raise ModelError(
            "the weights of a model behind servers are not here",
            "Training and merging want its files: name a folder or a Hugging Face name. Nothing was lost.",
        )
    return str(embedded.ensure(source.name)) if source.embedded else source.path


def declared_bos(tokenizer: Any) -> int | None:
    """The BOS that the model's own tokenizer puts first, and nothing else; ModelError where it adds more."""
    probe = "Water"
    plain = tokenizer(probe, add_special_tokens=False).input_ids
    usual = tokenizer(probe).input_ids
    if usual == plain:
        return None
    if tokenizer.bos_token_id is not None and usual == [tokenizer.bos_token_id, *plain]:
        return int(tokenizer.bos_token_id)
    raise ModelError(
        f"this tokenizer adds tokens that nobody asked for: {tokenizer.convert_ids_to_tokens(usual)}",
        "Only a BOS in front is accepted. Use the tokenizer of the base model; no run was started.",
    )


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = getattr(model.generation_config, "eos_token_id", None)
    ids = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    return frozenset(i for i in ids if i is not None)


def _content_ids(tokenizer: Any) -> list[int]:
    """Special tokens that are no part of a chat format."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    plain = [getattr(tokenizer, name, None) for name in names]
    chat_like = ("im_", "turn", "inst", "header", "user", "assistant", "system")
    return [
        i
        for i in plain
        if i is not None and not any(word in str(tokenizer.convert_ids_to_tokens(i)).lower() for word in chat_like)
    ]


def fingerprint_of(path: str, dtype: str) -> str:
    """A hash of configuration, tokenizer and weights: a file's bytes up to 2 GB, else its ends and its size."""
    folder = Path(path)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

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


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
