"""What is asked of texts that are there already: log-probabilities of labels behind them, and their hidden states.

Texts are packed without padding, a beginning that many share is computed once, and only positions that are asked about
meet the output matrix.
"""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from engine.models.files.tokenizer import Text
from engine.models.local.head import Head
from engine.models.local.packing import Pack, PackCache
from engine.models.local.slots import SlotCache
from engine.models.local.way import FedText, Unsuited, Way, fed, summed
from engine.models.requests import Generate, HiddenStates, LabelScores, Read, Score

HELD_PREFIXES = 8
PACK_TOKENS = 32  # times the batch size: tokens that are scored in one pass
WINDOW_TOKENS = 128  # times the batch size: tokens whose answers come together
FULL, SLIDING = "full_attention", "sliding_attention"  # as configurations call kinds of layers
LOGIT_ROWS = 256  # rows that meet the output matrix at once: fewer read it too often, more fill the memory


class _Enough(Exception):
    """The last layer that is asked about was reached: what comes behind it need not be computed."""


class Forward(Way):
    """The side of the fast path that reads texts; the side that writes them is the fast path itself.

    Raises Unsuited for a model with layers of another kind than it knows.
    """

    def __init__(self, model: Any, text: Text, ends: frozenset[int], batch_size: int) -> None:
        super().__init__(model, text, ends, batch_size)
        config = model.config.get_text_config()
        self._head = Head(model)
        self._window = getattr(config, "sliding_window", None)
        self._layer_types = frozenset(getattr(config, "layer_types", None) or ())
        if strange := self._layer_types - {FULL, SLIDING}:
            raise Unsuited(f"it has layers of {' and '.join(sorted(strange)).replace('_', ' ')}")
        self._additive = model.config._attn_implementation == "eager"  # what is seen is 0 there, and true elsewhere
        self._encode_shared = functools.lru_cache(HELD_PREFIXES)(text.encode)
        self._prefixes: OrderedDict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = OrderedDict()

    def forget(self) -> None:
        self._prefixes.clear()

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        """Log-probabilities of labels as continuations; see engine.models.requests.Model. Raises PromptTooLong."""
        waiting = iter(requests)
        while True:
            window: list[tuple[Score, list[list[int]]]] = []
            feed: list[FedText] = []
            while sum(len(one.text) for one in feed) < WINDOW_TOKENS * self.batch_size:
                request = next(waiting, None)
                if request is None:
                    break
                labels = [self._text.plain(label) for label in request.labels]
                feed += self._fed(len(window), request, labels)
                window.append((request, labels))
                if len(window) == 4 * self.batch_size:
                    break
            if not window:
                return
            yield from self._scored(window, feed)

    def _fed(self, at: int, request: Score, labels: list[list[int]]) -> list[FedText]:
        """What to feed for a request: one text where its labels are of one token, else one for each label."""
        prompt = self._text.fitting(request.prompt, max(map(len, labels), default=0), self._context)
        beginning = common_beginning(prompt, self._shared(request))
        text = list(prompt[len(beginning) :])
        return fed(at, beginning, text, labels)

    def _scored(self, window: list[tuple[Score, list[list[int]]]], feed: list[FedText]) -> Iterator[LabelScores]:
        vectors, asked = [], []
        places = 0
        for some in _packs(feed, PACK_TOKENS * self.batch_size):
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
        mask = self._masks(pack.seen(), lambda: pack.seen(self._window))
        return self._decoded(pack.tokens, pack.positions, mask, PackCache(state))[0], pack.starts

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        """Hidden states of texts; see engine.models.requests.Model. Layers behind the last that is asked about are not
        computed. Raises PromptTooLong."""
        waiting = iter(requests)
        while window := list(itertools.islice(waiting, 4 * self.batch_size)):
            feed = [
                FedText(at, (), list(self._text.fitting(request.prompt, 0, self._context)), [])
                for at, request in enumerate(window)
            ]
            for pack in _packs(feed, PACK_TOKENS * self.batch_size):
                wanted = sorted({layer for one in pack for layer in window[one.request].layers})
                states, starts = self._states([one.text for one in pack], wanted)
                for start, one in zip(starts, pack, strict=True):
                    request = window[one.request]
                    texts = [states[layer][start : start + len(one.text)] for layer in request.layers]
                    found = [summed(text) for text in texts]
                    yield HiddenStates(request, np.asarray(torch.stack(found).float().cpu().numpy()))

    def _states(self, texts: list[list[int]], layers: list[int]) -> tuple[dict[int, torch.Tensor], list[int]]:
        """The outputs of `layers` for packed texts, each [tokens, size], and where each text begins."""
        found: dict[int, torch.Tensor] = {}

        def keep(layer: int) -> Any:
            def hook(_module: Any, _given: Any, output: Any) -> None:
                found[layer] = (output[0] if isinstance(output, tuple) else output)[0]
                if layer == layers[-1]:
                    raise _Enough

            return hook

        hooks = [self._decoder.layers[layer - 1].register_forward_hook(keep(layer)) for layer in layers]
        try:
            _, starts = self._packed((), texts)
        except _Enough:
            starts = list(itertools.accumulate(map(len, texts), initial=0))[:-1]
        finally:
            for hook in hooks:
                hook.remove()
        return found, starts

    def _logprobs(self, vectors: torch.Tensor, places: list[int], tokens: list[int]) -> list[float]:
        """Log-probabilities of tokens, each behind the hidden state at its place among `vectors` ([places, size])."""
        normaliser = torch.cat([self._head.logits(some).logsumexp(-1) for some in vectors.split(LOGIT_ROWS)])
        found: list[float] = []
        for start in range(0, len(places), LOGIT_ROWS):
            behind = torch.tensor(places[start : start + LOGIT_ROWS], device=vectors.device)
            ids = torch.tensor(tokens[start : start + LOGIT_ROWS], device=vectors.device)
            logits = self._head.logits_of(vectors[behind], ids[:, None])[:, 0]
            found += (logits - normaliser[behind]).tolist()
        return found

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
        mask = self._masks(seen[:, None], lambda: (seen & (positions[:, :, None] - columns < self._window))[:, None])
        return self._decoded(tokens.to(self._device), positions, mask, cache)

    def _masks(self, full: torch.Tensor, near: Callable[[], torch.Tensor]) -> Any:
        """What the decoder takes to know what each token sees: one mask, or one for each kind of its layers."""
        if self._layer_types - {FULL}:
            return {FULL: self._mask(full), SLIDING: self._mask(near())}
        # A class without kinds of layers has its window in all of them.
        return self._mask(full if self._layer_types or self._window is None else near())

    def _mask(self, seen: torch.Tensor) -> torch.Tensor:
        if not self._additive:
            return seen
        dtype = self._model.dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)

    def _decoded(self, tokens: torch.Tensor, positions: torch.Tensor, mask: Any, cache: Any) -> torch.Tensor:
        out = self._decoder(
            input_ids=tokens, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True
        )
        hidden: torch.Tensor = out.last_hidden_state
        return hidden

    def _shared(self, request: Generate | Score) -> tuple[int, ...]:
        return tuple(self._encode_shared(request.prompt[: request.shared])) if request.shared else ()


def common_beginning(prompt: tuple[int, ...], shared: tuple[int, ...]) -> tuple[int, ...]:
    """The tokens that a prompt has in common with its shared beginning, at least its last one left out.

    A token at the seam may join beginning and item, so that the beginning's own last token is not in the prompt.
    """
    equal = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(prompt, shared, strict=False)))
    return prompt[: min(equal, len(prompt) - 1)]


def _packs(feed: list[FedText], size: int) -> Iterator[list[FedText]]:
    """Texts behind the same beginning together, up to so many tokens; one that is longer alone."""
    by_beginning: dict[tuple[int, ...], list[FedText]] = {}
    for one in feed:
        by_beginning.setdefault(one.beginning, []).append(one)
    for same in by_beginning.values():
        pack: list[FedText] = []
        for one in same:
            if pack and sum(len(before.text) for before in pack) + len(one.text) > size:
                yield pack
                pack = []
            pack.append(one)
        yield pack
