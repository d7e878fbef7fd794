"""What is asked of texts that are there already: log-probabilities of labels behind them, and their hidden states.

Texts are packed without padding, a beginning that many share is computed once, and only positions that are asked about
meet the output matrix.
"""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from engine.models.files.tokenizer import Text
from engine.models.local.packing import Pack, PackCache
from engine.models.local.slots import SlotCache
from engine.models.requests import Generate, HiddenStates, LabelScores, Read, Score

HELD_PREFIXES = 8
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


class _Enough(Exception):
    """The last layer that is asked about was reached: what comes behind it need not be computed."""


class Forward:
    """The side of a transformers model that reads texts; the side that writes them is the model itself."""

    batch_size: int

    def __init__(self, model: Any, text: Text) -> None:
        config = model.config.get_text_config()
        self._model = model
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings().weight
        self._text = text
        self._device = model.device
        self.layers = len(getattr(self._decoder, "layers", ()))
        self._context = int(getattr(config, "max_position_embeddings", 2048))
        self._window = getattr(config, "sliding_window", None)
        self._layer_types = frozenset(getattr(config, "layer_types", None) or ())
        self._encode_shared = functools.lru_cache(HELD_PREFIXES)(text.encode)
        self._prefixes: OrderedDict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = OrderedDict()

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
        beginning = common_beginning(prompt, self._shared(request))
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

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        """Hidden states of texts; see engine.models.requests.Model. Layers behind the last that is asked about are not
        computed. Raises PromptTooLong."""
        waiting = iter(requests)
        while window := list(itertools.islice(waiting, 4 * self.batch_size)):
            fed = [
                _Fed(at, (), list(self._text.fitting(request.prompt, 0, self._context)), [])
                for at, request in enumerate(window)
            ]
            for pack in _packs(fed, PACK_TOKENS * self.batch_size):
                wanted = sorted({layer for one in pack for layer in window[one.request].layers})
                states, starts = self._states([one.text for one in pack], wanted)
                for start, one in zip(starts, pack, strict=True):
                    request = window[one.request]
                    texts = [states[layer][start : start + len(one.text)] for layer in request.layers]
                    # The first token is the BOS where the model has one, and attends to itself alone: no mean holds it.
                    found = [torch.stack([text[-1], text[1 if len(text) > 1 else 0 :].mean(0)]) for text in texts]
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

    def _logits(self, hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        return self._softcap(hidden @ head.T)

    def _softcap(self, logits: torch.Tensor) -> torch.Tensor:
        cap = getattr(self._model.config.get_text_config(), "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

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


def common_beginning(prompt: tuple[int, ...], shared: tuple[int, ...]) -> tuple[int, ...]:
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
