"""Critique, revision, candidates and pairs with a model whose preferences are known."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.analyses.offers import recheck
from engine.analyses.whatif import WhatIf, apply
from engine.core import data as shipped
from engine.core.errors import SpecError
from engine.core.events import Event, MarginMeasured
from engine.models.requests import Completion, Generate, LabelScores, Score
from engine.quality.pair_selection import PAIR_RULES
from engine.run.engine import Engine
from engine.spec import constitution
from tests.engine.fakes import FakeModel, data_rows, run_engine, stopped_after

pytestmark = pytest.mark.integration

SETTINGS = {
    "critics.instruction": "[grade]", "critics.sample": "[grade, ended]", "critics.pair": "[compare, grade]",
    "critics.shuffles": "1", "critics.audit_items": "8", "instructions.round": "4", "revisions.rounds": "2",
    "instructions.level": "varied", "responses.drafts": "1", "expected_candidates_per_accepted": "1.5",
    "candidates.boundary_prompts": "6", "pairs.pairs_at_least": "1", "review.ask": "[]",
    "pairs.best_of_at_least": "0", "pairs.decided_by_critic_at_least": "0",  # the fake's critics pass no audit
}  # fmt: skip
OPTIONS: dict[str, Any] = {"spec": "stage_6_small_model", "pilot": 8, "overrides": SETTINGS}
TABLES = {
    "revisions": "round, ordinal",
    "candidates": "ordinal, source, number",
    "pairs": "ordinal, pair_id",
    "gates": "gate, check_name",
}
SIDES = re.compile(r"\(A\) (.*)\n\(B\) (.*)\nQuestion")


class Critical(FakeModel):
    """Its revisions begin with "Really" and are what its comparison prefers; `bias` nats go to whatever is in front."""

    def __init__(self, *, bias: float = 0.3, taste: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.bias, self.taste = bias, taste

    def _answer(self, request: Generate) -> Completion:
        prompt = request.prompt
        told = prompt.rsplit("\nResponse: ", 1)[-1].split("\n")[0]
        if prompt.endswith("Critique:"):
            text = f" The words '{' '.join(told.split()[:3])}' are vague."
        elif prompt.endswith(("Better response:", "Revision:")):
            text = f" Really, {told.split(' is ')[-1]} and {len(told)} other things were older."
        elif prompt.endswith("Refusal:"):
            text = " I'm sorry, I can't help with that, but I can suggest something kinder."
        elif prompt.endswith("In other words,"):
            text = " the same thing may be said again at some length with other turns of phrase, which helps nobody."
        else:
            return super()._answer(request)
        return Completion(request, text, tuple(range(len(text.split()))), 5, "stop", "\n###")

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        for request in requests:
            sides = SIDES.search(request.prompt, request.shared)
            if sides is None:
                (found,) = super().score([request])
                # A grade of the text itself: revisions are graded best.
                if "Grade:" in request.prompt:
                    good = 0.5 if "Answer: Really" in request.prompt[request.shared :] else 0.0
                    found = LabelScores(request, (found.logprobs[0] + good, found.logprobs[1] - good), (1, 1))
                yield found
                continue
            first, second = ("Really" in side for side in sides.groups())
            margin = self.bias + self.taste * (first - second)
            yield LabelScores(request, (margin / 2 - 1, -margin / 2 - 1), (1, 1))


def rows_of(opened: Engine) -> dict[str, list[dict[str, Any]]]:
    reader = opened.store.reader()
    found = data_rows(opened)
    for table, order in TABLES.items():
        found[table] = reader.query(
            f"SELECT * EXCLUDE (run_id) FROM {table} WHERE run_id = ? ORDER BY {order}", [opened.run_id]
        )
    for row in found["gates"]:
        del row["decided_at"]
    reader.close()
    return found


def flags(opened: Engine, kind: str) -> dict[str, list[str]]:
    rows = opened.store.reader().query("SELECT subject_id, flags FROM verdicts WHERE subject_kind = ?", [kind])
    return {row["subject_id"]: row["flags"] for row in rows}


def test_every_source_gives_pairs_and_each_can_be_traced_to_its_texts(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **OPTIONS)
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    rows = rows_of(opened)
    train = {row["instruction_id"] for row in rows["instructions"] if row["split"] == "train"}
    assert {row["source"] for row in rows["pairs"]} == {"revision", "best_of", "hard_negative", "boundary"}
    assert {row["instruction_id"] for row in rows["pairs"]} <= train
    texts = {row["sample_id"]: row["response"] for row in rows["samples"]}
    texts |= {row["revision_id"]: row["response"] for row in rows["revisions"]}
    texts |= {row["candidate_id"]: row["response"] for row in rows["candidates"]}
    for row in rows["pairs"]:
        assert (row["chosen"], row["rejected"]) == (texts[row["chosen_id"]], texts[row["rejected_id"]])
    revised = [row for row in rows["pairs"] if row["source"] == "revision"]
    assert revised and all(row["chosen"].startswith("Really") and row["margin_nats"] == 1.0 for row in revised)
    assert all(row["margin_in_front"] == pytest.approx(1.3) for row in revised)
    assert all(row["margin_behind"] == pytest.approx(0.7) for row in revised)
    assert {row["gate"] for row in rows["gates"]} == {"final", "final pairs"}
    opened.close()


def test_a_preference_that_turns_with_the_order_keeps_no_revision(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(bias=2.0, taste=0.5), **OPTIONS)
    judged = [found for found in flags(opened, "revision").values() if not set(found) - {"worse"}]
    assert judged and all(found == ["worse"] for found in judged)
    orders = [found for found in flags(opened, "pair").values() if "order" in found or "margin" in found]
    assert orders
    opened.close()


def test_round_two_revises_what_round_one_kept_by_another_principle(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **OPTIONS)
    rows = rows_of(opened)["revisions"]
    by_sample: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_sample.setdefault(row["sample_id"], []).append(row)
    kept = {name for name, found in flags(opened, "revision").items() if not found}
    assert kept and all(len(rounds) == 2 for rounds in by_sample.values())
    for one, two in by_sample.values():
        assert one["parent_id"] == one["sample_id"]
        assert two["parent_id"] == (one["revision_id"] if one["revision_id"] in kept else one["sample_id"])
        assert one["principle_id"] != two["principle_id"]
    opened.close()


def test_batch_sizes_change_no_revision_and_no_pair(tmp_path: Path, monkeypatch: Any) -> None:
    one = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(batch_size=1), **OPTIONS)
    many = run_engine(tmp_path / "b.duckdb", monkeypatch, Critical(batch_size=7), **OPTIONS)
    a, b = rows_of(one), rows_of(many)
    assert a == b
    one.close(), many.close()


@pytest.mark.parametrize("after", [-90, -60, -40, -20, -8, -1])
def test_a_stopped_run_goes_on_to_the_same_pairs_and_pays_for_nothing_twice(
    tmp_path: Path, monkeypatch: Any, after: int
) -> None:
    whole_model = Critical()
    whole = run_engine(tmp_path / "whole.duckdb", monkeypatch, whole_model, **OPTIONS)
    wanted = rows_of(whole)
    whole.close()
    stop_at = max(1, len(whole_model.generated) + after)
    first, run_id = stopped_after(stop_at, tmp_path / "cut.duckdb", monkeypatch, Critical, **OPTIONS)
    second = Critical()
    resumed = run_engine(tmp_path / "cut.duckdb", monkeypatch, second, resume=run_id)
    assert rows_of(resumed) == wanted
    assert not set(first.generated) & set(second.generated)
    resumed.close()


def test_a_run_stops_where_the_constitution_was_changed(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **OPTIONS, until="instructions")
    opened.close()
    changed = tmp_path / "constitution.yaml"
    changed.write_text(constitution.CONSTITUTION.read_text() + "\n# a word more\n")
    monkeypatch.setattr(constitution, "CONSTITUTION", changed)
    again = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), resume=opened.run_id)
    assert again.outcome is not None and again.outcome.state == "failed"
    assert "constitution was changed" in again.outcome.reason
    again.close()


def test_a_gate_that_fails_ends_the_run_and_names_its_check(tmp_path: Path, monkeypatch: Any) -> None:
    strict = OPTIONS | {"overrides": SETTINGS | {"pairs.pairs_at_least": "9999"}}
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **strict, until="pair_gate")
    assert opened.outcome is not None and opened.outcome.state == "gate_failed"
    assert "preference pairs" in opened.outcome.reason
    opened.close()


def test_every_flag_of_a_pair_has_words(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(bias=2.0, taste=0.5), **OPTIONS)
    found = {flag for names in flags(opened, "pair").values() for flag in names}
    assert found and found <= PAIR_RULES.keys()
    opened.close()


def test_another_margin_decides_the_pairs_again_and_generates_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    model = Critical()
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, model, **OPTIONS)
    generated = len(model.generated)
    found = recheck(opened.store.reader(), opened.run_id, {"pairs.min_margin_nats": "5.0"})
    before, after = (found[when]["counts"]["preference pair"] for when in ("before", "after"))
    assert before["accepted"] > after["accepted"] and sum(before.values()) == sum(after.values())
    assert len(model.generated) == generated
    assert any(check["name"] == "smallest margin" for check in found["before"]["checks"])
    opened.close()


@pytest.mark.parametrize("labelled", [False, True])
def test_compared_responses_of_the_models_own_are_a_part_of_the_audit_where_there_are_some(
    tmp_path: Path, monkeypatch: Any, labelled: bool, request: pytest.FixtureRequest
) -> None:
    data = tmp_path / "data"
    shutil.copytree(shipped.DATA, data)
    for name in ("own_comparisons", "fresh_comparisons"):
        (data / f"own/{name}.jsonl").unlink()
    if labelled:
        rows = (data / "anchors/anchors_comparisons.jsonl").read_text().splitlines(keepends=True)
        (data / "own/own_comparisons.jsonl").write_text("".join(rows[:6]))
    monkeypatch.setattr(shipped, "DATA", data)
    request.addfinalizer(shipped.read_data.cache_clear)  # of what another test, or this one, has read
    shipped.read_data.cache_clear()
    told: list[str] = []
    opened = run_engine(
        tmp_path / "a.duckdb", monkeypatch, Critical(), lambda e: told.append(str(e.payload().get("text", ""))),
        **OPTIONS, until="audit",
    )  # fmt: skip
    audits = [row for row in data_rows(opened)["audits"] if row["subject_kind"] == "pair"]
    parts = {(row["critic"], row["part"]): row["n_good"] + row["n_bad"] for row in audits}
    own = {("compare", "own"): 6, ("grade", "own"): 6} if labelled else {}
    assert parts == {("compare", "planted"): 8, ("grade", "planted"): 8} | own
    alone = [text for text in told if "planted items alone" in text]
    assert alone == ([] if labelled else ["pair critics were audited on planted items alone: none of the model's own "
                                          "are labelled"])  # fmt: skip
    opened.close()


@pytest.mark.parametrize("kind", ["instruction", "sample", "revision", "candidate", "pair"])
def test_margins_told_while_a_run_goes_on_are_those_that_are_stored(
    tmp_path: Path, monkeypatch: Any, kind: str
) -> None:
    told: list[MarginMeasured] = []

    def on_event(event: Event) -> None:
        if isinstance(event, MarginMeasured) and event.subject_kind == kind:
            told.append(event)

    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), on_event, **OPTIONS)
    stored = opened.store.reader().query(
        "SELECT critic, subject_id, margin_nats, score FROM judgements WHERE subject_kind = ?", [kind]
    )
    live = {(event.critic, event.subject_id): (event.margin_nats, event.score) for event in told}
    assert live and len(live) == len(told)
    assert live == {(row["critic"], row["subject_id"]): (row["margin_nats"], row["score"]) for row in stored}
    opened.close()


@pytest.mark.parametrize(
    ("spec", "seeds"),
    [
        ("stage_2_implicit_instructions", "seed2-"),
        ("stage_3_generation", "seed3-"),
        ("stage_4_evaluation", "seed4-"),
        ("stage_5_revision", "seed5-"),
        ("stage_6_constitutional_integration", "seed-"),
    ],
)
def test_each_stage_runs_to_its_gates_from_seeds_of_its_own(
    tmp_path: Path, monkeypatch: Any, spec: str, seeds: str
) -> None:
    lax = {
        "gate.audited_critics_at_least": "0", "gate.median_tokens_below": "500", "gate.token_limit_below": "1.0",
        "gate.runaway_below": "1.0", "gate.pair_acceptance_at_least": "0", "pairs.audited_critics_at_least": "0",
        "max_candidates_per_accepted": "50", "critics.sample": "[grade]",
    }  # fmt: skip
    quick = {key: value for key, value in SETTINGS.items() if key != "candidates.boundary_prompts"}
    told: list[str] = []
    opened = run_engine(
        tmp_path / "a.duckdb", monkeypatch, Critical(), lambda e: told.append(str(e.payload().get("text", ""))),
        spec=spec, pilot=6, overrides=quick | lax,
    )  # fmt: skip
    assert opened.outcome is not None and opened.outcome.state in ("done", "gate_failed"), opened.outcome
    rows = rows_of(opened)
    assert {row["gate"] for row in rows["gates"]} == {"final", "final pairs"}
    assert all(name.startswith(seeds) for row in rows["instructions"] for name in row["seed_ids"])
    assert any("has no trained adapter here" in text for text in told)
    opened.close()


def test_thresholds_of_pairs_are_tried_from_stored_rows_and_applying_decides_pairs_and_their_gate_anew(
    tmp_path: Path, monkeypatch: Any
) -> None:
    model = Critical()
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, model, **OPTIONS)
    store, run_id, generated = opened.store, opened.run_id, len(model.generated)
    before = rows_of(opened)
    with store.reader() as reader:
        whatif = WhatIf(reader, run_id)
        now = whatif.under({})
        strict = {"pairs.min_margin_nats": "5.0", "pairs.pairs_at_least": "300"}
        then = whatif.under(strict)
    assert {knob.key for knob in whatif.knobs} >= {"pairs.min_margin_nats", "pairs.per_instruction"}
    stored = [row["verdict"] for row in before["verdicts"] if row["subject_kind"] == "pair"]
    assert (now.acceptance["pair"].accepted, now.acceptance["pair"].n) == (stored.count("accepted"), len(stored))
    assert now.pairs_changed == 0 and not any(check.fails for check in now.checks)
    assert then.acceptance["pair"].accepted == now.acceptance["pair"].accepted - then.pairs_changed
    assert then.changed == 0 and [check.name for check in then.checks if check.fails] == ["preference pairs"]
    assert rows_of(opened) == before  # nothing was written yet

    assert apply(store, run_id, strict, "only plain preferences") == {
        "instruction": 0, "sample": 0, "pair": then.pairs_changed,
    }  # fmt: skip
    after = rows_of(opened)
    with store.reader() as reader:
        run = reader.run(run_id)
        again = WhatIf(reader, run_id).under({})
        decision = reader.query("SELECT * FROM decisions")[0]
    assert run["state"] == "gate_failed" and run["reason"].endswith("preference pairs")
    assert [row for row in after["verdicts"] if row["subject_kind"] != "pair"] == [
        row for row in before["verdicts"] if row["subject_kind"] != "pair"
    ]
    gates = {(row["gate"], row["check_name"]): row for row in after["gates"]}
    assert not gates["final pairs", "preference pairs"]["passed"]
    assert gates["final pairs", "preference pairs"]["evidence_sha256"] == decision["evidence_sha256"]
    assert {k: v for k, v in gates.items() if k[0] == "final"} == {
        (row["gate"], row["check_name"]): row for row in before["gates"] if row["gate"] == "final"
    }
    rejected = [row for row in after["verdicts"] if row["subject_kind"] == "pair" and row["verdict"] == "rejected"]
    assert len(rejected) == again.acceptance["pair"].n - again.acceptance["pair"].accepted
    assert len(model.generated) == generated
    # Back again, and the run may go on.
    apply(store, run_id, {"pairs.min_margin_nats": "0.0", "pairs.pairs_at_least": "1"}, "as it was")
    assert {k: v for k, v in rows_of(opened).items() if k != "audits"} == {
        k: v for k, v in before.items() if k != "audits"
    }
    with store.reader() as reader:
        assert reader.run(run_id)["state"] == "stopped"
    opened.close()


def test_values_of_pairs_that_contradict_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **OPTIONS)
    with opened.store.reader() as reader, pytest.raises(SpecError, match="shares must"):
        WhatIf(reader, opened.run_id).under({
            "pairs.revision": "0.1", "pairs.best_of": "0.1", "pairs.hard_negative": "0.1", "pairs.boundary": "0.1",
        })  # fmt: skip
    opened.close()


class Quizmaster(Critical):
    """Asks for quiz questions alone, and writes each response with its answer on a line of its own."""

    def _answer(self, request: Generate) -> Completion:
        found = super()._answer(request)
        text = f"{found.text}\nAnswer: by {len(found.text)} years."
        if "numbered list" in request.prompt:
            text = re.sub(r"\b[A-Z]\w+ how ", "Write a quiz question on how ", found.text)
        return Completion(request, text, found.token_ids, 5, found.stop_reason, found.stop_text)


def test_what_belongs_to_a_response_belongs_to_its_revisions_and_candidates(tmp_path: Path, monkeypatch: Any) -> None:
    lax = {"instructions.duplicate_at": "0.99", "instructions.cluster_at": "0.99"}
    options = OPTIONS | {"overrides": SETTINGS | lax}
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Quizmaster(), **options, until="candidates")
    rows = rows_of(opened)
    texts = [row["response"] for row in rows["samples"]]
    texts += [row["response"] for row in rows["revisions"]]
    texts += [row["response"] for row in rows["candidates"] if row["source"] in ("best_of", "unwarranted_refusal")]
    assert rows["revisions"] and any(row["source"] == "best_of" for row in rows["candidates"])
    assert [text for text in texts if "\nAnswer: by " not in text] == []
    opened.close()
