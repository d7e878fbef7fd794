"""Tiny tasks of the harness's own kind, asked of models whose share of right answers is known; needs the extra `eval`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")

import engine.models.registry
from engine.core.control import Control
from engine.core.errors import EvaluationError
from engine.evaluation.suites.harness import SEED, load
from engine.models.answers import Answers
from engine.models.requests import Completion, Generate, LabelScores, Score
from engine.run.engine import open_engine
from engine.run.orders import Evaluate
from engine.spec.provenance import short_hash
from store.db import Store
from tests.engine.evaluation.examined import BASE, Examined, add_adapter, query
from tests.engine.training.training_run import RUN, settings, trainable_store

pytestmark = pytest.mark.integration
TINY = Path(__file__).parent / "tiny"
CHOICE, WORDS = str(TINY / "tiny_choice.yaml"), str(TINY / "tiny_words.yaml")
ROWS = {row["question"]: row for row in map(json.loads, (TINY / "tiny.jsonl").read_text().splitlines())}


class Pupil(Examined):
    """Knows the answer to a tiny question under a condition where a hash of both says so."""

    def __init__(self, tuned: dict[str, str] | None = None) -> None:
        super().__init__({"base_raw": 0.3, "base_formatted": 0.3, "sft": 0.8}, tuned)
        self.scored: list[Score] = []

    def condition(self, request: Any) -> str:
        if self.fingerprint in self.tuned:
            return self.tuned[self.fingerprint]
        return "base_formatted" if request.prompt.endswith("\nResponse:") else "base_raw"

    def _knows(self, request: Any) -> tuple[dict[str, Any], bool]:
        row = next(row for question, row in ROWS.items() if question in request.prompt.rpartition("Question: ")[2])
        name = self.condition(request)
        return row, int(short_hash(name, row["question"]), 16) % 1000 < 1000 * self.rates[name]

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        for request in requests:
            self.scored.append(request)
            row, knows = self._knows(request)
            best = f" {row['choices'][row['gold'] if knows else row['gold'] - 1]}"
            yield LabelScores(request, tuple(-0.5 if one == best else -3.0 for one in request.labels), (1, 1, 1))

    def _answer(self, request: Generate) -> Completion:
        row, knows = self._knows(request)
        word = row["choices"][row["gold"] if knows else row["gold"] - 1]
        return Completion(request, f" {word.capitalize()}, I think.", (1, 2, 3), 5, "stop", None)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return trainable_store(tmp_path / "a.duckdb", Path("gemma-3-270m"), settings(), fingerprint=BASE)


def ask(path: Path, monkeypatch: pytest.MonkeyPatch, model: Pupil, *suites: str, stop_at: int = 0) -> Any:
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: model)
    opened = open_engine(Evaluate(path, RUN, suites=suites), lambda event: None)
    if stop_at:
        model._on_answer = lambda n: opened.stop() if n == stop_at else None
    opened.start()
    assert opened.join(100)
    opened.close()
    if opened.error is not None:
        raise opened.error
    return opened.outcome


def test_choices_are_scored_compared_and_kept_item_by_item(store: Path, monkeypatch: Any) -> None:
    model = Pupil({add_adapter(store, "sft"): "sft"})
    outcome = ask(store, monkeypatch, model, CHOICE)
    assert outcome.state == "done" and "tiny_choice acc: base_formatted" in outcome.reason and "→ sft" in outcome.reason
    answers = query(store, "SELECT * FROM suite_answers")
    assert len(answers) == 3 * 24 and {row["harness"] for row in answers} == {"lm-eval 0.4.13"}
    assert {row["shots"] for row in answers} == {1} and {row["version"] for row in answers} == {"1.0"}
    for row in answers:  # the harness's own figure for each item follows from the answer that is kept
        right = row["answer"].strip() == ROWS_AT[row["doc_id"]]["choices"][ROWS_AT[row["doc_id"]]["gold"]]
        assert json.loads(row["metrics"]) == {"acc": float(right)}, (
            "a Brier score of the harness's is of a task, not of an item"
        )
        assert len(row["request_ids"]) == 1, "the choices of a question are asked together"
    kept = query(store, "SELECT count(*) AS n FROM scores WHERE request_id IN "
                        "(SELECT unnest(request_ids) FROM suite_answers)")  # fmt: skip
    assert kept[0]["n"] == len(model.scored) == 3 * 24
    assert query(store, "SELECT state FROM runs")[0]["state"] == "done"
    assert not query(store, "SELECT * FROM evaluation_results")


def test_what_decides_are_passages_not_questions(store: Path, monkeypatch: Any) -> None:
    ask(store, monkeypatch, Pupil({add_adapter(store, "sft"): "sft"}), CHOICE)
    means = {row["condition"]: row for row in query(store, "SELECT * FROM suite_means")}
    (row,) = query(store, "SELECT * FROM suite_results WHERE before = 'base_formatted'")
    assert (row["n"], row["clusters"], row["unit"]) == (24, 12, "document")
    assert row["before_mean"] == means["base_formatted"]["mean"] and row["after_mean"] == means["sft"]["mean"]
    assert row["after_mean"] - row["before_mean"] == pytest.approx(row["difference"]) and row["difference"] > 0.2
    assert row["lo"] < row["difference"] < row["hi"] and row["p"] < 0.05 and row["p"] <= row["q"] < 0.05
    assert row["gained"] - row["lost"] == 24 * row["difference"] and row["mcnemar_p"] < 0.05 and row["flip_p"] < 0.05


def test_the_base_goes_on_with_a_text_and_adapters_answer_in_their_format(store: Path, monkeypatch: Any) -> None:
    model = Pupil({add_adapter(store, "sft"): "sft"})
    ask(store, monkeypatch, model, CHOICE, WORDS)
    raw, formatted, tuned = model.scored[0], model.scored[24], model.scored[48]
    assert raw.prompt.startswith("Questions about things.\n\nQuestion: ") and "Instruction" not in raw.prompt
    assert raw.prompt.endswith("\nAnswer:") and all(label.startswith(" ") for label in raw.labels)
    assert formatted.prompt.startswith("Instruction: Questions about things.\n\nQuestion: ")
    assert formatted.prompt.endswith("\nAnswer:\nResponse:") and formatted.labels == raw.labels
    assert formatted.prompt.count("\n###\n") == 1, "a solved example ends as training examples do"
    assert tuned == formatted, "what base and adapter differ by is the weights alone"
    plain, in_format = model.generated[0], model.generated[24]
    assert plain.prompt in ROWS and plain.decoding.stop == ("\n\n",) and plain.decoding.max_tokens == 12
    assert in_format.prompt == f"Instruction: {plain.prompt}\nResponse:"
    assert in_format.decoding.stop == ("\n\n", "\n###", "###", "\nInstruction:")
    words = query(store, "SELECT * FROM suite_answers WHERE task = 'tiny_words'")
    assert {row["answer"] for row in words} <= {one.capitalize() for row in ROWS.values() for one in row["choices"]}
    means = query(store, "SELECT metric, condition, mean FROM suite_means WHERE task = 'tiny_words'")
    assert {row["metric"] for row in means} == {"exact_match,first_word"}
    assert next(row["mean"] for row in means if row["condition"] == "sft") > 0.6


def test_a_group_is_told_as_one_figure_and_each_of_its_tasks_besides(store: Path, monkeypatch: Any) -> None:
    outcome = ask(store, monkeypatch, Pupil(), str(TINY / "tiny_all.yaml"))
    assert outcome.reason.startswith("tiny_all acc: base_raw ") and outcome.reason.endswith(" of 48 items")
    means = query(store, "SELECT * FROM suite_means WHERE condition = 'base_raw' ORDER BY task")
    assert [(row["task"], row["n"], row["whole"]) for row in means] == [
        ("tiny_again", 24, False), ("tiny_all", 48, True), ("tiny_choice", 24, False),
    ]  # fmt: skip
    again, whole, choice = (row["mean"] for row in means)
    assert whole == pytest.approx((again + choice) / 2), "what the harness pools over items"


@pytest.mark.slow
def test_figures_are_those_of_the_harness_with_its_own_model(tmp_path: Path) -> None:
    """The same weights through the harness's transformers model and through the program's door."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from engine.phases.harness_model import HarnessModel
    from tests.engine.training.training_run import tiny_model

    folder = str(tiny_model(tmp_path / "tiny"))
    theirs: Any = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=1)
    model = engine.models.registry.load(folder, batch_size=4)
    with Store.open(tmp_path / "s.duckdb") as opened:
        ours = HarnessModel(Answers(model, opened, "session-1", Control()), False, lambda: None)
        for suite in load([CHOICE, WORDS]):
            found = []
            for one in (theirs, ours):
                for task in suite.tasks.values():
                    task.set_fewshot_seed(seed=SEED)
                found.append(evaluate(lm=one, task_dict={"tasks": dict(suite.tasks)}, bootstrap_iters=0))
            for name, samples in found[0]["samples"].items():
                for a, b in zip(samples, found[1]["samples"][name], strict=True):
                    assert a["arguments"] == b["arguments"]
                    if name == "tiny_words":
                        assert a["resps"] == b["resps"]
                    else:
                        values = ([value for ((value, _),) in one["resps"]] for one in (a, b))
                        assert next(values) == pytest.approx(next(values), abs=1e-4)
    model.close()


def test_a_suite_that_was_stopped_goes_on_and_one_that_was_asked_costs_nothing(store: Path, monkeypatch: Any) -> None:
    first = Pupil()
    outcome = ask(store, monkeypatch, first, WORDS, stop_at=20)
    assert outcome.state == "stopped" and not query(store, "SELECT * FROM suite_answers")
    second = Pupil()
    assert ask(store, monkeypatch, second, WORDS).state == "done"
    assert len(first.generated) + len(second.generated) == 2 * 24 and len(first.generated) < 30
    before = query(store, 'SELECT * EXCLUDE ("at") FROM suite_answers ORDER BY ALL')
    third = Pupil()
    assert ask(store, monkeypatch, third, WORDS).state == "done" and third.generated == []
    assert query(store, 'SELECT * EXCLUDE ("at") FROM suite_answers ORDER BY ALL') == before


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"output_type": "loglikelihood"}, "of the kind loglikelihood"),
        ({"unsafe_code": True}, "runs code"),
        ({"dataset_path": "nobody/nothing", "custom_dataset": None}, "cannot be fetched"),
        (
            {"custom_dataset": None, "dataset_path": "json", "dataset_kwargs": {"data_files": "gone.json"}},
            "not on this",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_before_a_model_is_loaded(
    changed: dict[str, Any], told: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    text = Path(CHOICE).read_text().replace("!function tiny.questions", f"!function {TINY}/tiny.questions")
    lines = [line for line in text.splitlines() if line.partition(":")[0] not in changed]
    lines += [f"{name}: {json.dumps(value)}" for name, value in changed.items() if value is not None]
    (tmp_path / "tiny.py").write_text((TINY / "tiny.py").read_text().replace("Path(__file__).parent", repr(str(TINY)))
                                      .replace(f"({str(TINY)!r} /", f"(Path({str(TINY)!r}) /"))  # fmt: skip
    path = tmp_path / "odd.yaml"
    path.write_text("\n".join(lines).replace(f"{TINY}/tiny.questions", "tiny.questions"))
    with pytest.raises(EvaluationError) as caught:
        load([str(path)])
    assert told in caught.value.title and "Nothing was asked" in caught.value.hint


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no file"):
        load(["gone.yaml"])
    (tmp_path / "other.yaml").write_text("colour: green")
    with pytest.raises(EvaluationError, match="describes no task"):
        load([str(tmp_path / "other.yaml")])


@pytest.mark.slow
def test_a_name_that_the_harness_does_not_have_names_those_near_it() -> None:
    with pytest.raises(EvaluationError) as caught:
        load(["hellaswagg"])
    assert "hellaswag" in caught.value.hint


ROWS_AT = list(ROWS.values())


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_answers_a_suite(tmp_path: Path) -> None:
    """Through the real door: scores are log-probabilities, and both ways of asking are answered."""
    from engine.models.files.source import resolve

    path = trainable_store(tmp_path / "m.duckdb", Path("base"), settings())
    with Store.open(path) as opened:
        opened.update_run(RUN, model=resolve(None).name, fingerprint=None)
    opened_engine = open_engine(Evaluate(path, RUN, suites=(CHOICE, WORDS), batch_size=8), lambda event: None)
    opened_engine.start()
    assert opened_engine.join(600)
    opened_engine.close()
    assert opened_engine.outcome is not None and opened_engine.outcome.state == "done", opened_engine.outcome
    means = query(path, "SELECT task, condition, n, mean FROM suite_means")
    assert {(row["task"], row["condition"], row["n"]) for row in means} == {
        (task, condition, 24) for task in ("tiny_choice", "tiny_words") for condition in ("base_raw", "base_formatted")
    }
    assert max(row["mean"] for row in means if row["task"] == "tiny_choice") > 0.34, "better than by chance"
    values = query(path, "SELECT unnest(logprobs) AS value FROM scores")
    assert len({row["value"] for row in values}) > 24 and all(row["value"] < 0 for row in values)
