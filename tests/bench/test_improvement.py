"""The benchmark of improvement: what its runs differ by, which examples they learn from, and what it reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.improvement import read, unseen
from bench.improving.blind import blinded
from bench.improving.conditions import BY_CRITIC, BY_RULES, CONDITIONS, SPEC, BenchFolder, BenchSettings, first_of
from bench.improving.report import report
from engine.core.data import read_data
from engine.evaluation.items import item_set
from engine.spec.stage import load_spec
from engine.training.examples import Examples
from store.db import Store
from tests.store import rows

Row = dict[str, Any]
SETTINGS = BenchSettings(examples=2, seeds=[1, 2], items_per_type=1, instructions=2, sample_at=0.2, changed={})
RUNS = {"1 rules": "r1", "1 critic": "c1", "2 rules": "r2", "2 critic": "c2", "unseen": "u"}
TEXTS = ("Name a fish of the sea.", "Why does iron rust?", "Say goodbye to a neighbour.")


def folder_of(path: Path) -> BenchFolder:
    folder = BenchFolder(path)
    folder.write("settings.json", vars(SETTINGS))
    folder.write("runs.json", RUNS)
    return folder


def test_both_runs_of_a_seed_differ_by_what_may_filter_alone() -> None:
    by_rules, by_critic = (
        load_spec(SPEC, SETTINGS.new_run(Path("s.duckdb"), 1, critic, None, 8).overrides).settings.model_dump()
        for critic in (False, True)
    )
    assert by_rules.pop("critics") | {"min_auc": 0.0} == by_critic.pop("critics")
    assert by_rules["responses"] | {"drafts": by_critic["responses"]["drafts"]} == by_critic["responses"]
    assert by_rules.pop("responses")["drafts"] == 1 < by_critic.pop("responses")["drafts"]
    assert by_rules == by_critic
    assert (BY_RULES.keys(), BY_CRITIC.keys()) == ({"critics.min_auc", "responses.drafts"}, {"critics.min_auc"})


def test_what_is_set_by_hand_comes_last() -> None:
    given = BenchSettings(**vars(SETTINGS) | {"changed": {"dpo.beta": "0.3", "instructions.level": "varied"}})
    found = load_spec(SPEC, given.new_run(Path("s.duckdb"), 1, True, None, 8).overrides).settings
    assert found.dpo is not None
    assert (found.dpo.beta, found.instructions.level, found.critics.probe_sample_at) == (0.3, "varied", 0.2)


def examples(*names: str, per: int = 1) -> Examples:
    made = [{"id": f"{name}-{number}", "prompt": name, "completion": "x"} for name in names for number in range(per)]
    return Examples(made, [], {name: (name, "train") for name in names}, {row["id"]: row["prompt"] for row in made})


def test_examples_are_the_first_by_place_and_pairs_those_of_their_instructions() -> None:
    samples, pairs = examples("a", "b", "c"), examples("b", "c", "d", per=2)
    assert [row["id"] for row in first_of(samples, samples, 2).train] == ["a-0", "b-0"]
    assert [row["id"] for row in first_of(pairs, samples, 2).train] == ["b-0", "b-1"]
    assert first_of(samples, samples, 2).sha256 != samples.sha256  # so that it is a training of its own


def test_instructions_to_answer_are_accepted_and_like_nothing_that_was_seen(tmp_path: Path) -> None:
    shipped = read_data("seeds_simple")[0]["text"]
    texts = {"i-1": TEXTS[0], "i-2": shipped, "i-3": TEXTS[1], "i-4": "Name a bird.", "i-5": TEXTS[2]}
    settings = {"instructions": {"duplicate_at": 0.7}}
    with Store.open(tmp_path / "a.duckdb") as store, store.reader() as reader:
        store.append(
            {
                "runs": [rows.run(name, settings=settings) for name in ("u", "c1", "elsewhere")],
                "instructions": [
                    *(rows.instruction(name, "u", ordinal=at, text=text) for at, (name, text) in enumerate(texts.items())),
                    rows.instruction("i-9", "c1", text="Why does the iron rust?"),
                    rows.instruction("i-1", "elsewhere", text=TEXTS[0]),  # of a store that was copied: no run of these
                ],
                "verdicts": [
                    rows.verdict(name, "rejected" if name == "i-4" else "accepted", "u", subject_kind="instruction")
                    for name in texts
                ],
            }
        )  # fmt: skip
        assert unseen(reader, RUNS, SETTINGS) == {"i-1": TEXTS[0], "i-5": TEXTS[2]}
        more = BenchSettings(**vars(SETTINGS) | {"instructions": 3})
        with pytest.raises(SystemExit, match="2 instructions of 4"):
            unseen(reader, RUNS, more)


def whole_store(folder: BenchFolder) -> None:
    """Two seeds whose tuned models are right in two, three and four of four items, and base in one."""
    settings = load_spec(SPEC, SETTINGS.overrides).settings.model_dump()
    sha256 = item_set().sha256
    items = [rows.evaluation_item(f"t{n}", items_sha256=sha256, template=f"tp{n % 2}") for n in range(4)]
    items.append(rows.evaluation_item("d0", items_sha256=sha256, split="dev"))
    right = {"base_formatted": 1, "rules": 2, "critic": 3, "critic_dpo": 4}
    made: dict[str, list[Row]] = {name: [] for name in ("runs", "instructions", "samples", "verdicts")}
    asked: list[Row] = []
    for name, run_id in RUNS.items():
        made["runs"].append(rows.run(run_id, settings=settings))
        if name == "unseen":
            continue
        for n, text in enumerate(TEXTS):
            made["instructions"].append(rows.instruction(f"i{n}", run_id, ordinal=n, text=text))
            made["samples"].append(rows.sample(f"s{n}", f"i{n}", run_id, ordinal=n))
            made["verdicts"].append(rows.verdict(f"s{n}", run_id=run_id))
        arm = name.split()[1]
        of = {kind: condition for condition, (by, _, kind) in CONDITIONS.items() if by == arm}
        for kind, condition in {"base_formatted": "base_formatted", **of}.items():
            asked += [
                rows.evaluation_answer(item["item_id"], kind, n < right[condition], run_id, items_sha256=sha256)
                for n, item in enumerate(items)
            ]
    with Store.open(folder.store) as store:
        store.append({**made, "evaluation_items": items})
        store.append({"evaluation_answers": asked})


def test_a_report_has_items_by_seed_grades_of_what_was_read_and_what_the_data_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path)
    whole_store(folder)
    given = [
        {"seed": seed, "condition": name, "instruction_id": text, "instruction": text, "answer": f"{name} says {text}"}
        for seed, name in [(None, "base"), *((seed, name) for seed in (1, 2) for name in CONDITIONS)]
        for text in TEXTS
    ]
    shown, key = blinded(given)
    folder.write("key.json", key)
    graded = [{"id": row["id"], "grade": "good" if "critic" in row["answer"] else "bad"} for row in shown]
    file = tmp_path / "read.jsonl"
    file.write_text("\n".join(map(json.dumps, graded[:-1])))
    read(folder, file)
    assert f"1 of {len(shown)} answers are left to read" in capsys.readouterr().out
    file.write_text("\n".join(map(json.dumps, graded[-2:])))
    read(folder, file)
    assert "2 grades taken up, 0 changed; 0 of" in capsys.readouterr().out

    report(folder)
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(folder.file("report.json").read_text())
    by = {
        measure: {(row["before"], row["after"]): row for row in found} for measure, found in told["differences"].items()
    }
    first = by["items"]["rules", "critic"]
    assert (first["pooled"]["n"], first["pooled"]["before_right"], first["pooled"]["after_right"]) == (8, 4, 6)
    assert first["by_seed"]["2"]["difference"] == 0.25
    assert by["items"]["base", "critic_dpo"]["pooled"]["difference"] == 0.75
    assert by["good"]["rules", "critic"]["pooled"]["difference"] == 1.0
    assert by["good"]["base", "rules"]["pooled"]["difference"] == 0.0
    assert told["grades"]["critic 2"] == {"good": 3, "pass": 0, "bad": 0}
    assert told["data"]["1 critic"] == {
        "sample": {"judged": 3, "accepted": 3}, "examples": 2, "words": 2.0, "pairs": 0, "shared": 2,
    }  # fmt: skip
    table = folder.file("report.md").read_text()
    assert table.count("| items | rules → critic | 8 | 50.0 % | 75.0 % | +25.0 [") == 1


def test_a_grade_that_cannot_count_leaves_all_grades_as_they_were(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.write("key.json", {"a": [], "b": []})
    file = tmp_path / "read.jsonl"
    file.write_text('{"id": "a", "grade": "good"}\n{"id": "c", "grade": "good"}\n')
    with pytest.raises(SystemExit, match="No grade was taken up"):
        read(folder, file)
    assert not folder.file("grades.json").exists()


def test_a_step_that_comes_too_early_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="do the step `make` first"):
        report(BenchFolder(tmp_path))
