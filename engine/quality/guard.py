"""The contamination guard: is this a base model, fed exactly what was asked, that can complete a sentence?

Three kinds of check. Encoding: no token is smuggled in, no chat token is among the first ones. Known answers: a wrong
tokenizer or broken weights can't tell Paris from a stapler. Sentinels: prompts continued greedily; a base model goes on
and on and repeats itself, an instruct-tuned one answers and ends, a broken one says the same few words for ever. Single
answers prove nothing (a good base answers some, a small instruct model rambles), so only shares over all prompts
decide. docs/BASE_MODEL_TRUTH.md has the figures.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from engine.core.data import read_data
from engine.models.answers import Answers
from engine.models.requests import Decoding, Encoding, Generate, Model, Score, Scored
from engine.quality.rules import repeated_trigrams
from engine.spec import prompts
from engine.spec.provenance import derived_seed
from engine.spec.stage import StageSpec
from engine.stats.similarity import words

SENTINELS = (
    "Translate to Pig Latin: The quick brown fox",
    "List three primes.",
    "Water freezes at",
    "Write a JSON object for Ann, who is 30 years old.",
    "Describe the four seasons.",
    "What is the capital of Portugal?",
    "Give two synonyms of the word happy.",
    "How do I boil an egg?",
    "Sort these numbers from small to large: 9, 2, 7.",
    "Explain why the sky is dark at night.",
    "Write a short poem about rain.",
    "Who painted the Mona Lisa?",
)
KNOWN_ANSWERS = (
    ("Water freezes at", (" 32", " 0"), (" seventeen", " purple")),
    ("The capital of France is", (" Paris",), (" banana", " stapler")),
    ("Two plus two equals", (" four", " 4"), (" Tuesday", " nine")),
    ("The opposite of hot is", (" cold",), (" window", " seven")),
    ("Monday, Tuesday, Wednesday,", (" Thursday",), (" April", " spoon")),
    ("The sun rises in the", (" east", " morning"), (" bottle", " grammar")),
)
FORMATTED_EXAMPLES = 4
FIRST_TOKENS = 8
STUCK_WORDS = 3  # an answer of no more different words than these says nothing, however long it is


def run_guard(answers: Answers, spec: StageSpec, run_id: str) -> Iterator[dict[str, Any]]:
    """The rows of guard_checks, as they come. `passed` is None where a condition is recorded and decides nothing."""
    yield from _encoding_checks(answers.model, run_id)
    yield from _known_answers(answers, spec, run_id)
    raw = {text: text for text in SENTINELS}
    few = [(row["instruction"], row["response"]) for row in read_data("response_examples")[:FORMATTED_EXAMPLES]]
    formatted = {text: prompts.response(few, text).text for text in SENTINELS}
    for condition, asked, stops in (("raw", raw, ()), ("formatted", formatted, prompts.RESPONSE_STOPS)):
        measured = []
        for number, row in enumerate(_sentinels(answers, spec, run_id, condition, asked, stops)):
            measured.append(row["measured"])
            yield row | {"check_id": f"{condition}-{number:02d}"}
        yield _aggregate(run_id, spec, condition, measured)


def encoding_fault(encoding: Encoding) -> str | None:
    """What is wrong with the first tokens of a fed prompt, or None.

    A base model's own BOS, declared by the loader, is no contamination; any other special token that only a chat format
    uses is.
    """
    first = encoding.token_ids[:FIRST_TOKENS]
    chat = [encoding.tokens[i] for i, token in enumerate(first) if token in encoding.chat_ids]
    if chat:
        return f"chat tokens in front of the prompt: {', '.join(chat)}"
    if encoding.declared_bos is not None and encoding.token_ids.count(encoding.declared_bos) != 1:
        return "the declared BOS does not stand exactly once"
    return None


def _encoding_checks(model: Model, run_id: str) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(SENTINELS[:4]):
        encoding = model.encoding(text)
        fault = encoding_fault(encoding)
        bos = encoding.declared_bos
        measured = {"first_ids": list(encoding.token_ids[:FIRST_TOKENS]), "declared_bos": bos}
        detail = fault or ("only the model's own BOS, as declared" if bos is not None else "nothing was added")
        shown = " ".join(encoding.tokens[:FIRST_TOKENS])
        yield _row(run_id, f"encoding-{number:02d}", "encoding", text, shown, measured, fault is None, detail)


def _known_answers(answers: Answers, spec: StageSpec, run_id: str) -> Iterator[dict[str, Any]]:
    asked: dict[Scored, Any] = {
        Score(prompt, (*right, *wrong)): (prompt, right, wrong) for prompt, right, wrong in KNOWN_ANSWERS
    }
    margins: dict[str, float] = {}
    for _, found in answers.score(asked):
        prompt, right, _ = asked[found.request]
        margins[prompt] = max(found.logprobs[: len(right)]) - max(found.logprobs[len(right) :])
    share = sum(margin > 0 for margin in margins.values()) / len(margins)
    good = share >= spec.guard.min_known_answers
    shown = " | ".join(prompt for prompt, *_ in KNOWN_ANSWERS)
    measured = {"margins_nats": {prompt: margins[prompt] for prompt, *_ in KNOWN_ANSWERS}, "share": share}
    detail = f"{share:.0%} of known sentences go on sensibly, at least {spec.guard.min_known_answers:.0%} wanted"
    detail += "" if good else ": the tokenizer or the weights are broken, this model can't complete"
    yield _row(run_id, "known-answers", "aggregate", shown, "", measured, good, detail)


def _sentinels(
    answers: Answers, spec: StageSpec, run_id: str, condition: str, asked: dict[str, str], stops: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    decoding = Decoding(spec.guard.max_tokens, stop=stops)
    requests = {Generate(prompt, decoding, derived_seed(0, "sentinel", prompt)): text for text, prompt in asked.items()}
    found = {requests[completion.request]: completion for _, completion in answers.complete(requests)}
    for text in SENTINELS:
        completion = found[text]
        measured = {
            "stop_reason": completion.stop_reason,
            "ended_itself": completion.stop_reason == "eos" and bool(words(completion.text)),
            "empty": not words(completion.text),
            "stuck": is_stuck(completion.text),
            "repeated_trigrams": round(repeated_trigrams(completion.text), 4),
            "starts_blank": completion.text.startswith("\n"),
            "echoes_prompt": bool(words(text)) and " ".join(words(text)) in " ".join(words(completion.text)),
            "n_tokens": len(completion.token_ids),
        }
        yield _row(run_id, "", condition, completion.request.prompt, completion.text, measured, None, text)


def _aggregate(run_id: str, spec: StageSpec, condition: str, measured: list[dict[str, Any]]) -> dict[str, Any]:
    n = len(measured)
    ended, empty, stuck, echoes = (
        sum(m[name] for m in measured) / n for name in ("ended_itself", "empty", "stuck", "echoes_prompt")
    )
    repeated = statistics.median(m["repeated_trigrams"] for m in measured)
    figures = {
        "n": n,
        "eos_rate": ended,
        "empty_rate": empty,
        "stuck_rate": stuck,
        "median_repeated_trigrams": repeated,
        "echo_rate": echoes,
    }
    said = f"ended by itself {ended:.0%}, empty {empty:.0%}, median repeated trigrams {repeated:.2f}, n = {n}"
    if condition != "raw":
        # With examples a base follows many instructions: expected, and no sign of contamination.
        return _row(run_id, f"{condition}-all", "aggregate", condition, "", figures, None, f"recorded: {said}")
    faults = []
    if ended > spec.guard.max_eos_rate:
        faults.append(f"it answers and ends like an assistant (at most {spec.guard.max_eos_rate:.0%} for a base)")
    if empty > spec.guard.max_empty_rate:
        faults.append(f"it ends without a word (at most {spec.guard.max_empty_rate:.0%} for a base)")
    if stuck > spec.guard.max_empty_rate:
        faults.append(
            f"it says the same few words over and over in {stuck:.0%} "
            f"(at most {spec.guard.max_empty_rate:.0%} for a base)"
        )
    detail = said + ("; " + "; ".join(faults) if faults else "")
    return _row(run_id, f"{condition}-all", "aggregate", condition, "", figures, not faults, detail)


def is_stuck(text: str) -> bool:
    """Whether an answer goes on and on with the same few words."""
    found = words(text)
    return len(found) > 2 * STUCK_WORDS and len(set(found)) <= STUCK_WORDS


def _row(
    run_id: str, check_id: str, condition: str, prompt: str, answer: str, measured: dict[str, Any], passed: bool | None,
    detail: str,
) -> dict[str, Any]:  # fmt: skip
    return {
        "run_id": run_id, "check_id": check_id, "condition": condition, "prompt": prompt, "answer": answer,
        "measured": measured, "passed": passed, "detail": detail,
    }  # fmt: skip
