"""Controls: what they are drawn from, that they are as many and as long as they say, and who takes them for SFT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.analyses.offers import training_plan
from engine.models import adapters
from engine.planning.forecast import pilot_of
from engine.planning.left import controls_of, stage_parts
from engine.training.controls import at_random, by_length
from engine.training.examples import Examples, examples
from store.db import Store
from store.read import Reader
from tests.engine.training.conftest import rows as rows_of
from tests.engine.training.training_run import RUN, decide_gates, settings, train, trainable_store
from tests.store import rows

ON = {"evaluation.controls": "[sft_random, sft_length]"}
REJECTED = 40


def with_rejected(path: Path, model: Path | str = "nobody/base-model", **changed: str) -> Path:
    """The trainable run with candidates that critics rejected, twice as long, and some whose form was at fault."""
    spec = settings(**{"gate.pair_acceptance_at_least": "0.0", **changed})
    trainable_store(path, Path(model), spec)
    made: dict[str, list[dict[str, Any]]] = {"instructions": [], "samples": [], "verdicts": [], "judgements": []}
    for n in range(100, 100 + REJECTED + 8):
        loops = n >= 100 + REJECTED
        text = f"The {n} thing is one that nobody would ever want to read about, whatever {n} may be."
        split = "validation" if n % 10 == 0 else "train"
        made["instructions"].append(rows.instruction(f"i{n}", ordinal=n, text=f"Say what number {n} is.", split=split))
        made["samples"].append(rows.sample(f"s{n}", f"i{n}", ordinal=n, raw=text, response=text, trimmed=[]))
        made["judgements"] += [
            rows.judgement(f"s{n}", "grade"), rows.judgement(f"i{n}", "grade", subject_kind="instruction")
        ]  # fmt: skip
        made["verdicts"].append(rows.verdict(f"i{n}", subject_kind="instruction"))
        made["verdicts"].append(rows.verdict(f"s{n}", "rejected", flags=["runaway"] if loops else []))
    with Store.open(path) as store, store.reader() as reader:
        store.append(made)
        decide_gates(store, reader, spec)
    return path


def drawn(reader: Reader, method: str, **run: Any) -> Examples:
    return examples(reader, reader.run(RUN) | run, method, 0.0)


def lengths(found: Sequence[dict[str, str]]) -> list[int]:
    return sorted(len(row["completion"]) for row in found)


def test_a_control_has_as_many_and_none_whose_form_is_at_fault(tmp_path: Path) -> None:
    path = with_rejected(tmp_path / "a.duckdb")
    with Store.open(path) as store, store.reader() as reader:
        sft, random = drawn(reader, "sft"), drawn(reader, "sft_random")
        assert (len(random.train), len(random.heldout)) == (len(sft.train), len(sft.heldout)) == (24, 3)
        ids = {row["id"] for row in (*random.train, *random.heldout)}
        assert ids <= {f"s{n:03d}" for n in range(100 + REJECTED)} and ids & {row["id"] for row in sft.train}
        assert random.contrast == len({row["id"] for row in random.train} - {row["id"] for row in sft.train}) > 0
        assert {split for _, split in random.instructions.values()} == {"train", "validation"}
        assert all(random.instructions[random.of[row["id"]]][1] == "train" for row in random.train)
        assert drawn(reader, "sft_random").sha256 == random.sha256  # the same seed, the same draw
        assert drawn(reader, "sft_random", seed=99).sha256 != random.sha256
        assert [row["id"] for row in random.train] == sorted(row["id"] for row in random.train)  # by place, as SFT's


def test_lengths_are_those_of_the_accepted_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    accepted = [int(n) for n in rng.integers(20, 80, 200)]
    pool = [(f"a{n}", length) for n, length in enumerate(accepted)]
    pool += [(f"r{n}", int(length)) for n, length in enumerate(rng.integers(20, 400, 1500))]
    of = dict(pool)
    chosen = by_length(pool, accepted, 1, "x")
    assert len(chosen) == 200 and chosen == by_length(pool, accepted, 1, "x") != by_length(pool, accepted, 2, "x")
    off = np.abs(np.sort([of[name] for name in chosen]) - np.sort(accepted))
    assert off.max() <= 8  # within a tenth of the accepted ones
    assert 20 < sum(name.startswith("r") for name in chosen) < 180  # neither only accepted ones nor none
    at_once = at_random(pool, 200, 1, "x")
    assert len(at_once) == 200 and np.median([of[name] for name in at_once]) > 2 * np.median(accepted)
    few = by_length([("near", 90), ("far", 500), ("in", 50)], [40, 60], 1, "x")
    assert few == {"in", "near"}  # what is missing in a tenth is taken from nearby
    assert by_length(pool, [], 1, "x") == at_random(pool, 0, 1, "x") == set()
    path = with_rejected(tmp_path / "a.duckdb")
    with Store.open(path) as store, store.reader() as reader:
        sft, random, matched = (drawn(reader, name) for name in ("sft", "sft_random", "sft_length"))
    assert np.mean(lengths(random.train)) > 1.3 * np.mean(lengths(sft.train))
    assert abs(np.mean(lengths(matched.train)) - np.mean(lengths(sft.train))) < 5


def shut(path: Path, kind: str, **overrides: str) -> set[str]:
    with Store.open(path) as store, store.reader() as reader:
        return {lock["name"] for lock in training_plan(reader, RUN, kind, overrides)["locks"] if not lock["open"]}


def test_a_control_is_off_until_the_spec_asks_for_it(tmp_path: Path) -> None:
    path = with_rejected(tmp_path / "a.duckdb")
    assert shut(path, "sft_random") == {"the control is switched on"}
    assert shut(path, "sft_random", **ON) == shut(path, "sft") == set()
    alike = trainable_store(tmp_path / "b.duckdb", Path("nobody/base-model"), settings())
    assert shut(alike, "sft_random", **ON) == {"it learns from other examples than SFT"}  # everything was accepted


def test_what_is_left_of_a_run_has_the_controls_that_are_on(tmp_path: Path) -> None:
    path = with_rejected(tmp_path / "a.duckdb")
    with Store.open(path) as store, store.reader() as reader:
        run = reader.run(RUN)
        for spec, named in ((settings(), []), (settings(**ON), ["sft_random", "sft_length"])):
            parts = [part.name for part in stage_parts(reader, run, spec, pilot_of(reader, RUN))]
            assert [name for name in parts if name in ("sft_random", "sft_length")] == named == controls_of(spec)


@pytest.mark.slow
@pytest.mark.xdist_group("training")
def test_a_trained_control_is_nobodys_sft(tmp_path: Path, model: Path, in_process: Any) -> None:
    path = with_rejected(tmp_path / "a.duckdb", model, **ON, **{"sft.epochs": "1.0"})
    opened = train(path, "sft", "sft_random")
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    found = {row["method"]: row for row in rows_of(opened, "SELECT * FROM trainings")}
    assert found.keys() == {"sft", "sft_random"} and found["sft_random"]["settings"] == found["sft"]["settings"]
    assert found["sft_random"]["data_sha256"] != found["sft"]["data_sha256"]
    with opened.store.reader() as reader:
        for wanted in ("sft", "sft_random"):
            made = adapters.of_run(reader, RUN, wanted)
            assert made is not None and made.training_id == found[wanted]["training_id"] and adapters.is_whole(made)
        assert adapters.of_run(reader, RUN, "dpo") is None
        last = adapters.of_stage(reader, "stage_6_small_model", "fp-1")
        assert last is not None and last.method == "sft"
        assert training_plan(reader, RUN, "dpo")["start"] == found["sft"]["training_id"]
        card = (adapters.folder_of(path, RUN, found["sft_random"]["training_id"]) / "adapter/README.md").read_text()
    opened.close()
    assert "a control, made to be compared with SFT" in card
