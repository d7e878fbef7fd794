"""The plain path: whatever `AutoModelForCausalLM` can run, by its own forward pass, `generate` and cache.

Texts that are read are padded on the right, where nothing that is asked about can see the padding; texts that are
written are padded on the left, as `generate` wants them. Nothing is packed and no beginning is shared: slower, and
right for models that the fast path does not know.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from engine.models.files.tokenizer import Text
from engine.models.local.head import only_at, unrounded
from engine.models.local.way import FedText, Way, WrittenRow, fed, summed, wanted_candidates
from engine.models.requests import Completion, Generate, HiddenStates, LabelScores, Read, Score
from engine.models.selfcheck import ALONE, PLAIN


class PlainPath(Way):
    """Writes and reads with nothing but what the model's class brings."""

    name = PLAIN

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        waiting = iter(requests)
        while some := list(itertools.islice(waiting, self.batch_size)):
            yield from self._written([self._row(request) for request in some])

    def _written(self, rows: list[WrittenRow]) -> list[Completion]:
        done: dict[int, Completion] = {}

        def chosen(_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            """Leave each row the one token that its request's own random numbers choose."""
            going = [at for at in range(len(rows)) if at not in done]
            some = [rows[at] for at in going]
            wanted = wanted_candidates(some) or scores.shape[-1]
            logits, ids = scores[going].float().topk(min(wanted, scores.shape[-1]))
            self._choose(some, logits.cpu().numpy(), ids.cpu().numpy())
            last = torch.tensor([[row.written[-1]] for row in rows], device=scores.device)
            return torch.full_like(scores, -torch.inf).scatter(1, last, 0.0)

        def ended(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            for at, row in enumerate(rows):
                if at not in done and (answer := self._ended(row)) is not None:
                    done[at] = answer
            return torch.tensor([at in done for at in range(len(rows))], device=ids.device)

        longest = max(len(row.prompt) for row in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, longest - len(row.prompt) :] = torch.tensor(row.prompt)
            mask[at, longest - len(row.prompt) :] = 1
        how = GenerationConfig(
            max_new_tokens=max(row.request.decoding.max_tokens for row in rows), do_sample=False, pad_token_id=0
        )
        with unrounded(self._model.get_output_embeddings()):
            self._model.generate(
                ids.to(self._device), attention_mask=mask.to(self._device), generation_config=how,
                logits_processor=LogitsProcessorList([chosen]), stopping_criteria=StoppingCriteriaList([ended]),
            )  # fmt: skip
        return [done[at] for at in range(len(rows))]

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        waiting = iter(requests)
        while some := list(itertools.islice(waiting, self.batch_size)):
            labels = [[self._text.plain(label) for label in request.labels] for request in some]
            feed: list[FedText] = []
            for at, (request, ids) in enumerate(zip(some, labels, strict=True)):
                prompt = self._text.fitting(request.prompt, max(map(len, ids), default=0), self._context)
                feed += fed(at, (), list(prompt), ids)
            found = [[0.0] * len(ids) for ids in labels]
            feed.sort(key=lambda one: len(one.text))
            for start in range(0, len(feed), self.batch_size):
                for at, label, logprob in self._logprobs(feed[start : start + self.batch_size]):
                    found[at][label] += logprob
            for request, ids, values in zip(some, labels, found, strict=True):
                yield LabelScores(request, tuple(values), tuple(map(len, ids)))

    def _logprobs(self, feed: list[FedText]) -> list[tuple[int, int, float]]:
        """Request, label and log-probability of each token that is asked about."""
        asked = [(row, at, token, one.request, label) for row, one in enumerate(feed) for at, token, label in one.asked]
        if not asked:
            return []
        rows, places, tokens, requests, labels = zip(*asked, strict=True)
        output = self._model.get_output_embeddings()
        with only_at(output, torch.tensor(rows), torch.tensor(places)), unrounded(output):
            logits = self._run([one.text for one in feed]).logits[0].float()
        found = logits.log_softmax(-1)[range(len(tokens)), tokens].tolist()
        return list(zip(requests, labels, found, strict=True))

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        waiting = iter(requests)
        while some := list(itertools.islice(waiting, self.batch_size)):
            texts = [list(self._text.fitting(request.prompt, 0, self._context)) for request in some]
            outputs: dict[int, torch.Tensor] = {}
            with ExitStack() as hooks:
                for layer in {layer for request in some for layer in request.layers}:
                    hooks.enter_context(kept(self._decoder.layers[layer - 1], outputs, layer))
                self._run(texts)
            for at, (request, text) in enumerate(zip(some, texts, strict=True)):
                found = [summed(outputs[layer][at, : len(text)]) for layer in request.layers]
                yield HiddenStates(request, np.asarray(torch.stack(found).float().cpu().numpy()))

    def _run(self, texts: list[list[int]]) -> Any:
        """The model's own pass over texts, padded on the right."""
        longest = max(map(len, texts))
        ids = torch.zeros((len(texts), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        with torch.no_grad():
            return self._model(
                ids.to(self._device), attention_mask=mask.to(self._device), use_cache=False, return_dict=True
            )


class OneByOne(PlainPath):
    """The plain path without padding, for a class that does not know how to leave it out."""

    name = ALONE

    def __init__(self, model: Any, text: Text, ends: frozenset[int], batch_size: int) -> None:
        super().__init__(model, text, ends, 1)


@contextmanager
def kept(module: Any, outputs: dict[int, torch.Tensor], layer: int) -> Iterator[None]:
    """For this time what a layer puts out ([texts, tokens, size]) is kept under its number."""

    def keep(_module: Any, _given: Any, output: Any) -> None:
        outputs[layer] = output[0] if isinstance(output, tuple) else output

    hook = module.register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()
