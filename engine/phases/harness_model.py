"""A run's model as the lm-evaluation-harness wants one: its requests become Generate and Score, committed like all.

Imports the harness, so it is imported by `engine.phases.suites` alone, once the harness is known to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.model import LM

from engine.core.errors import EvaluationError
from engine.models.answers import Answers
from engine.models.requests import Decoding, Generate, Score, Scored
from engine.quality.guard import encoding_fault
from engine.spec import prompts
from engine.spec.provenance import derived_seed

MOST_TOKENS = 256  # of an answer whose task sets no limit: the harness's own


class HarnessModel(LM):  # type: ignore[misc]
    """Answers the harness under one condition: whatever adapter is in front of the model of `answers` now.

    `formatted` writes items in the format that adapters are trained on, else a text is continued as it stands; no chat
    template is ever applied, and the guard's rule on chat tokens is kept. `asked` has by task and document the ids of
    its requests; `on_answer` is called for each answer.
    """

    def __init__(self, answers: Answers, formatted: bool, on_answer: Callable[[], None]) -> None:
        super().__init__()
        self.asked: dict[tuple[str, int], list[str]] = {}
        self._answers = answers
        self._formatted = formatted
        self._on_answer = on_answer

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """The log-probability of each (context, continuation); the continuations of a context are asked together.

        Whether a continuation is what greedy decoding gives is not asked: it is told as False, and never used.
        """
        together: dict[tuple[str, int, str], dict[str, list[int]]] = {}
        for at, one in enumerate(requests):
            prompt, label = self._divided(*one.args[:2])
            places = together.setdefault((one.task_name, one.doc_id, prompt), {})
            places.setdefault(label, []).append(at)
        asked: dict[Scored, list[tuple[tuple[str, int], dict[str, list[int]]]]] = {}
        for (task, document, prompt), places in together.items():
            asked.setdefault(Score(prompt, tuple(places)), []).append(((task, document), places))
        self._require_plain(next(iter(asked)).prompt)
        values = [0.0] * len(requests)
        for key, found in self._answers.score(asked):
            for document_of, places in asked[found.request]:
                self.asked.setdefault(document_of, []).append(key)
                for label, value in zip(found.request.labels, found.logprobs, strict=True):
                    for at in places[label]:
                        values[at] = value
                self._on_answer()
        return [(value, False) for value in values]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The continuation of each context, decoded as its task says; greedily where it does not."""
        asked: dict[Generate, list[int]] = {}
        times: dict[tuple[str, int], int] = {}
        for at, one in enumerate(requests):
            context, options = one.args[:2]
            key = (one.task_name, one.doc_id)
            times[key] = times.get(key, -1) + 1
            decoding = self._decoding(options)
            again = times[key] if decoding.temperature else 0
            seed = derived_seed(0, "suite", *key, again)
            asked.setdefault(Generate(context, decoding, seed), []).append(at)
        self._require_plain(next(iter(asked)).prompt)
        texts = [""] * len(requests)
        for key_of, found in self._answers.complete(asked):
            text = found.text.lstrip() if self._formatted else found.text
            for at in asked[found.request]:
                texts[at] = text
                self.asked.setdefault((requests[at].task_name, requests[at].doc_id), []).append(key_of)
            self._on_answer()
        return texts

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """None. Raises EvaluationError: tasks that ask for it are refused before."""
        raise EvaluationError("perplexity of whole texts cannot be asked here", "What was committed is safe.")

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation in the training format: what a task says to all stands in front of the first instruction.

        Earlier answers are solved examples. A last message of the assistant's is the beginning of the response.
        """
        turns: list[tuple[str, str]] = []
        waiting: list[str] = []
        for message in chat_history:
            if message["role"] == "assistant":
                turns.append(("\n\n".join(waiting), message["content"].strip()))
                waiting = []
            elif text := message["content"].strip():
                waiting.append(text)
        if add_generation_prompt:
            return prompts.response(turns, "\n\n".join(waiting)).text
        instruction, begun = turns.pop()
        return f"{prompts.response(turns, instruction).text} {begun}"

    @property
    def tokenizer_name(self) -> str:
        """Named by the harness in caches of its own, which are not used."""
        return "training format"

    def _divided(self, context: str, continuation: str) -> tuple[str, str]:
        """Prompt and label. White space between them belongs to the label, as the harness has it for its own models."""
        prompt = context.rstrip()
        label = context[len(prompt) :] + continuation
        if self._formatted and not label[:1].isspace():
            label = f" {label}"  # as a response follows its head in training
        return prompt, label

    def _decoding(self, options: Mapping[str, Any]) -> Decoding:
        until = options.get("until") or ()
        stops = tuple(one for one in ((until,) if isinstance(until, str) else until) if one)
        if self._formatted:
            stops = tuple(dict.fromkeys((*stops, *prompts.RESPONSE_STOPS)))
        most = int(options.get("max_gen_toks") or MOST_TOKENS)
        if not options.get("do_sample") or not float(options.get("temperature", 1.0)):
            return Decoding(most, stop=stops)
        filters = int(options.get("top_k") or 0), float(options.get("top_p") or 1.0)
        return Decoding(most, float(options.get("temperature", 1.0)), *filters, stop=stops)

    def _require_plain(self, prompt: str) -> None:
        """Raise EvaluationError where chat tokens stand in front of a prompt: the guard's rule."""
        if fault := encoding_fault(self._answers.model.encoding(prompt)):
            raise EvaluationError(f"the contamination guard stops the suite: {fault}", "Nothing was asked.")
