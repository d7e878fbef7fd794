"""Controls as conditions: the base shown accepted examples, SFT on others, a ceiling; none of them a claim unasked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.analyses.offers import evaluation_offer, preregister
from engine.core.data import read_data
from engine.core.errors import EvaluationError
from engine.evaluation import CONDITIONS, CONTROL_CONDITIONS
from engine.evaluation.analysis import CEILING_ONLY, CONTROL_ONLY, compare
from engine.evaluation.conditions import SPARE_TOKENS, in_context, request_of
from engine.evaluation.gap import gap_evidence
from engine.evaluation.items import item_set
from engine.evaluation.registration import body, row
from engine.models.requests import Generate
from engine.planning.experiment import experiment_of, pipeline_of
from engine.report.build import build
from engine.spec import prompts
from store.db import Store
from tests.engine.evaluation.examined import BASE, SMALL, Examined, add_adapter, evaluate, query
from tests.engine.evaluation.test_analysis import BASE as OUTCOMES
from tests.engine.evaluation.test_analysis import SPEC, TEMPLATES, TUNED, TYPES, answers
from tests.engine.training.training_run import RUN, settings, trainable_store
from tests.store.rows import T0, run

ALL = "[base_in_context, sft_random, sft_length]"
FIRST = read_data("response_examples")[0]["instruction"]


class Shown(Examined):
    """Tells a prompt with accepted examples from one with the shipped ones."""

    def condition(self, request: Generate) -> str:
        found = super().condition(request)
        return "base_in_context" if found == "base_few_shot" and FIRST not in request.prompt else found


def registration(conditions: Sequence[str]) -> dict[str, Any]:
    sizes = {"instruction_following": {kind: [5] * TEMPLATES for kind in TYPES}}
    made = body(run(), SPEC, "cd" * 32, "ab" * 32, {"temperature": 0}, conditions, sizes)
    return row("run-a", made, T0 - timedelta(hours=1))


def test_a_control_is_described_unless_it_was_registered() -> None:
    names = ("base_formatted", "sft", "base_in_context", "sft_random", "reference")
    given = [one for name in names for one in answers(name, TUNED if name in ("sft", "reference") else OUTCOMES)]
    plain = compare(given, SPEC, registration(("base_formatted", "sft")), draws=0, now=T0)
    whole = {(one["before"], one["after"]): one for one in plain.results if one["item_type"] == "all"}
    assert whole["base_formatted", "sft"]["role"] == "primary"
    controls = {("base_in_context", "sft"), ("sft_random", "sft"), ("base_formatted", "sft_random")}
    ceiling = {("base_formatted", "reference"), ("sft", "reference")}
    assert whole.keys() == controls | ceiling | {("base_formatted", "sft")}
    for pairs, correction in ((controls, CONTROL_ONLY), (ceiling, CEILING_ONLY)):
        for pair in pairs:
            one = whole[pair]
            assert (one["role"], one["correction"], one["registered"], one["q"], one["p_corrected"]) == (
                "descriptive", correction, False, None, None
            )  # fmt: skip
            assert one["lo"] <= one["difference"] <= one["hi"]
    asked = registration(("base_formatted", "sft", "base_in_context", "sft_random"))
    found = compare(given, SPEC, asked, draws=0, now=T0).results
    roles = {(one["before"], one["after"]): one["role"] for one in found if one["item_type"] == "all"}
    assert roles["base_in_context", "sft"] == roles["sft_random", "sft"] == "secondary"
    assert roles["base_formatted", "sft_random"] == roles["sft", "reference"] == "descriptive"
    late = [one | {"at": T0 - timedelta(hours=2)} if one["condition"] == "sft_random" else one for one in given]
    again = compare(late, SPEC, asked, draws=0, now=T0).results
    assert not any(one["registered"] for one in again)  # the control had answered before


def test_a_control_moves_no_gap_gate() -> None:
    base = [one | {"split": "dev"} for one in answers("base_formatted", OUTCOMES)]
    with_controls = base + [one | {"split": "dev"} for name in CONTROL_CONDITIONS for one in answers(name, TUNED)]
    assert gap_evidence(base, "a", "b") == gap_evidence(with_controls, "a", "b")


def test_as_many_examples_as_the_context_holds() -> None:
    assert SPEC is not None
    model = Examined()  # a token for each character, and one for the beginning
    items = item_set().of("instruction_following", "test", 2)
    pairs = [(f"Say the number {n}.", "It is this number.") for n in range(500)]
    spec = SPEC.model_copy(update={"context_tokens": 6000, "max_tokens": 100})
    shown = in_context(pairs, items, spec, model)
    assert 0 < len(shown) < 500 and shown == pairs[: len(shown)]
    sizes = [len(request_of("base_in_context", item, spec, model, shown).prompt) for item in items]
    one_more = len(prompts.response([pairs[0]], "").text)
    assert max(sizes) <= 6000 - SPARE_TOKENS < max(sizes) + 2 * len(shown) + one_more + 100
    model.facts = {**model.facts, "context": 3000}
    assert 0 < len(in_context(pairs, items, spec, model)) < len(shown)  # the model's own context holds less
    model.facts = {**model.facts, "context": 200}
    assert in_context(pairs, items, spec, model) == []


@pytest.mark.integration
def test_controls_from_the_base_to_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = settings(
        **SMALL,
        **{"evaluation.controls": ALL, "evaluation.context_tokens": "1200"},
        **{"evaluation.reference_logprobs": "true"},
    )
    path = trainable_store(tmp_path / "a.duckdb", Path("gemma-3-270m"), spec, fingerprint=BASE)
    rates = {"base_in_context": 0.3, "sft_random": 0.4, "sft_length": 0.45}
    first = Shown(rates)
    assert evaluate(path, monkeypatch, first).state == "done"
    (row_of,) = query(path, "SELECT manifest->'$.base_in_context' AS shown FROM runs")
    told = [one for one in first.generated if first.condition(one) == "base_in_context"]
    assert len({one.prompt.rpartition("Instruction: ")[0] for one in told}) == 1  # all items behind the same examples
    n = told[0].prompt.count("Instruction: ") - 1
    assert 0 < n < 24 and json.loads(row_of["shown"]) == {"shown": n, "of": 24}
    with Store.open(path) as store:
        made = preregister(store, RUN, after="sft", controls=True)["body"]
    pairs = [(one["before"], one["after"]) for one in made["hypotheses"] if one["role"] == "secondary"]
    assert {("base_in_context", "sft"), ("sft_random", "sft"), ("sft_length", "sft")} <= set(pairs)
    tuned = {add_adapter(path, name): name for name in ("sft", "sft_random", "sft_length")}
    assert evaluate(path, monkeypatch, Shown(rates, tuned)).state == "done"
    scored = query(path, "SELECT DISTINCT condition FROM evaluation_logprobs ORDER BY 1")
    assert [one["condition"] for one in scored] == ["base_few_shot", "base_formatted", "base_raw", "sft"]
    found = query(path, "SELECT before, after, role FROM evaluation_results WHERE item_type = 'all'")
    by_pair = {(one["before"], one["after"]): one["role"] for one in found}
    assert by_pair["base_formatted", "sft"] == "primary" and by_pair["sft_random", "sft"] == "secondary"
    assert by_pair["base_formatted", "sft_length"] == "descriptive"
    with Store.open(path) as store, store.reader() as reader:
        offer = evaluation_offer(reader, RUN)
        build(reader, RUN, tmp_path / "out", now=T0)
        with pytest.raises(EvaluationError, match="results exist"):
            preregister(store, RUN)
    assert [one["name"] for one in offer["conditions"]] == [
        "base_raw", "base_formatted", "base_few_shot", "base_in_context", "sft", "sft_random", "sft_length"
    ]  # fmt: skip
    assert not any(one["missing"] for one in offer["conditions"])
    text = (tmp_path / "out" / "report.md").read_text()
    for words in (f"the base was shown {n} of 24 accepted examples", "sft random: an adapter after the same",
                  "a control that was not registered"):  # fmt: skip
        assert words in text, words
    assert "conditions: " not in text  # what was registered is what was asked


def test_every_control_is_named_everywhere() -> None:
    from engine.evaluation.conditions import IN_WORDS

    assert set(CONDITIONS) == set(IN_WORDS)
    assert {row["control"] for row in experiment_of(pipeline_of("stage_1_small_model"))["controls"]} == set(
        CONTROL_CONDITIONS
    )
