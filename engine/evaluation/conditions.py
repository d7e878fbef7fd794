"""Under which conditions the items are asked: which weights, in which prompt, and how they are decoded.

The base is asked in three ways, because what a raw prompt does not bring out of a base model a prompt in the training
format may. Tuned models are asked in the format that they were trained on, a reference in its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.core.data import read_data
from engine.evaluation import BASE_CONDITIONS, IN_CONTEXT, REFERENCE, TUNED_CONDITIONS, Item
from engine.models import adapters
from engine.models.requests import Decoding, Generate, Model, adapter_fingerprint
from engine.spec import prompts
from engine.spec.provenance import derived_seed
from engine.spec.sections import EvaluationSpec
from store.names import CONTROL_TRAININGS
from store.read import Reader

# Another item may have more tokens than the one that is longest in characters, and texts join in other tokens.
SPARE_TOKENS = 64
IN_WORDS = {
    "base_raw": "the base weights, shown the item alone",
    "base_formatted": "the base weights, shown the item as `Instruction: …` with `Response:` left open",
    "base_few_shot": "the base weights, shown solved examples and then the item in the same format",
    "sft": "the adapter after supervised fine-tuning, in the format that it was trained on",
    "dpo": "the adapter after preference training, in the format that it was trained on",
    "base_in_context": "the base weights, shown as many accepted examples as the context holds, then the item",
    "sft_random": "an adapter after the same fine-tuning on random candidates, in the format that it was trained on",
    "sft_length": "the same on random candidates that are as long as the accepted ones",
    "reference": "another model that is instruction-tuned, in its own chat format where it has one",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A way to ask: its name, the model, the adapter in front of it, and the fingerprint of both where it is known."""

    name: str
    model: str
    adapter: adapters.Adapter | None = None
    fingerprint: str | None = None


def conditions_of(reader: Reader, run: Mapping[str, Any], spec: EvaluationSpec | None) -> list[Condition]:
    """What can be asked now: the base, the run's adapters that are whole, and a spec's controls and its reference."""
    reference, controls = (spec.reference, spec.controls) if spec is not None else (None, [])
    manifest = run["manifest"]
    base = (manifest.get("model") or {}).get("base_fingerprint") or run["fingerprint"]
    shown = [IN_CONTEXT] if IN_CONTEXT in controls else []
    found = [Condition(name, run["model"], None, base) for name in (*BASE_CONDITIONS, *shown)]
    for name in (*TUNED_CONDITIONS, *(one for one in CONTROL_TRAININGS if one in controls)):
        adapter = adapters.of_run(reader, run["run_id"], name)
        if adapter is not None and adapters.is_whole(adapter):
            known = None if base is None else adapter_fingerprint(base, adapter.sha256)
            found.append(Condition(name, run["model"], adapter, known))
    if reference is not None:
        facts = manifest.get(REFERENCE) or {}
        known = facts.get("fingerprint") if facts.get("name") == reference else ""
        found.append(Condition(REFERENCE, reference, None, known))
    return found


def broken_adapters(reader: Reader, run_id: str) -> list[adapters.Adapter]:
    """The run's newest adapters whose files are not there or not those that were written: they can't be asked."""
    found = (adapters.of_run(reader, run_id, name) for name in (*TUNED_CONDITIONS, *CONTROL_TRAININGS))
    return [adapter for adapter in found if adapter is not None and not adapters.is_whole(adapter)]


def decoding_of(condition: str, spec: EvaluationSpec) -> Decoding:
    """Greedy; the marker and a second turn end an answer, except of a reference, which ends by itself."""
    return Decoding(spec.max_tokens, stop=() if condition == REFERENCE else prompts.RESPONSE_STOPS)


def request_of(
    condition: str, item: Item, spec: EvaluationSpec, model: Model, accepted: Sequence[tuple[str, str]] = ()
) -> Generate:
    """The one request that asks an item under a condition. Earlier turns are shown with their scripted answers.

    `accepted` are the examples (instruction, response) of the condition base_in_context.
    """
    shared, text = 0, ""
    if condition == REFERENCE:
        text = model.chat(item.history, item.prompt) or prompts.response(item.history, item.prompt).text
    elif condition == "base_raw":
        text = "".join(f"{turn}\n\n{answer}\n\n" for turn, answer in item.history) + f"{item.prompt}\n\n"
    else:
        n = spec.examples if condition == "base_few_shot" else 0
        examples = [(row["instruction"], row["response"]) for row in read_data("response_examples")[:n]]
        if condition == IN_CONTEXT:
            examples = list(accepted)
        shared = prompts.response(examples, "").shared
        text = prompts.response([*examples, *item.history], item.prompt).text
    return Generate(text, decoding_of(condition, spec), derived_seed(0, "evaluation", item.item_id), shared)


def in_context(
    accepted: Sequence[tuple[str, str]], items: Sequence[Item], spec: EvaluationSpec, model: Model
) -> list[tuple[str, str]]:
    """As many of the accepted examples, in their order, as fit in front of every item and its answer.

    A prompt has `context_tokens` at most, and less where the model's context holds less with an answer.
    """
    asked = [prompts.response(item.history, item.prompt).text for item in items]
    longest = len(model.encoding(max(asked, key=len)).token_ids) if asked else 0
    context = model.facts.get("context")
    most = spec.context_tokens if context is None else min(spec.context_tokens, context - spec.max_tokens)
    left = most - longest - SPARE_TOKENS
    found: list[tuple[str, str]] = []
    for one in accepted:
        solved = prompts.response([one], "")
        left -= len(model.encoding(solved.text[: solved.shared]).token_ids)
        if left < 0:
            break
        found.append(one)
    return found


def answer_of(condition: str, item: Item, text: str) -> str:
    """What is verified of a completion: all of a reference's, of the others what stands before a marker or a turn."""
    return text.strip() if condition == REFERENCE else prompts.clean_response(text, item.prompt)[0]
