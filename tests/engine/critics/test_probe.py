"""A probe finds what is there, never from its own items, says when labels are too few, and is fitted once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core.control import Control
from engine.core.errors import ModelError, SpecError
from engine.critics import Subject
from engine.critics.audit import accepted_above, calibrate, served, stand_in
from engine.critics.probe import (
    Labelled,
    Probe,
    doubtful,
    expected_calibration_error,
    fit,
    layers_of,
    reliability,
    stored_probe,
)
from engine.critics.probed import SAME_AT, clusters_of, fitted, labelled_items
from engine.critics.states import CHUNK, states_of
from engine.models.answers import Answers, score_request_of
from engine.models.requests import HiddenStates, Probed, Read
from engine.spec.provenance import derived_seed
from engine.spec.stage import load_spec
from engine.stats.intervals import auc
from engine.stats.shares import wilson
from engine.stats.similarity import NearDuplicateIndex
from store.db import Store
from store.errors import StoreError
from tests.engine.fakes import FakeModel

pytestmark = pytest.mark.integration  # fits by the dozen

SIZE = 6


def made(n: int = 120, *, strength: float = 1.5, noise: float = 0.0, seed: int = 0, twins: bool = False) -> Labelled:
    """Texts whose second layer tells good from bad in one direction, and the first says nothing."""
    rng = np.random.default_rng(seed)
    good = np.arange(n) % 2 == 0
    states = rng.normal(size=(n, 2, 2, SIZE)).astype(np.float32)
    states[:, 1, 0, 0] += strength * np.where(good, 1, -1)
    clusters = [str(number) for number in range(n)]
    if twins:  # each text stands there twice, the second time with a state of its own that only the twin shares
        states[n // 2 :] = states[: n // 2]
        clusters = [str(number % (n // 2)) for number in range(n)]
        good[n // 2 :] = good[: n // 2]
    flipped = rng.random(n) < noise
    labels = good ^ flipped
    return Labelled(states, (1, 2), labels, labels, clusters, ["own"] * n, np.ones(n, dtype=bool))


def held_out_auc(labelled: Labelled) -> float:
    found = fit("sample", labelled, {})
    reached = auc(found.held_out[labelled.good].tolist(), found.held_out[~labelled.good].tolist())
    assert reached is not None
    return reached


def test_the_layer_that_tells_good_from_bad_is_found_and_log_odds_are_calibrated() -> None:
    labelled = made(400)
    found = fit("sample", labelled, {})
    assert found.probe.layer == 2 and all(layer == 2 for layer, _ in found.chosen)
    assert held_out_auc(labelled) > 0.9
    assert expected_calibration_error(found.held_out.tolist(), labelled.good.tolist()) < 0.08
    values = [found.probe.log_odds(states[1]) for states in labelled.states]
    assert auc(np.array(values)[labelled.good].tolist(), np.array(values)[~labelled.good].tolist()) > 0.9  # type: ignore[operator]


def test_states_that_say_nothing_are_at_chance_however_many_there_are() -> None:
    labelled = made(160, strength=0.0)
    wide = Labelled(
        np.random.default_rng(1).normal(size=(160, 2, 2, 400)).astype(np.float32), labelled.layers, labelled.good,
        labelled.passable, labelled.clusters, labelled.parts, labelled.natural,
    )  # fmt: skip
    assert 0.3 < held_out_auc(wide) < 0.7  # fitted on itself it would tell all of them apart


def test_near_duplicates_never_stand_on_both_sides() -> None:
    labelled = made(160, strength=0.0, twins=True)
    wide = np.random.default_rng(2).normal(size=(80, 2, 2, 400)).astype(np.float32)
    leaking = Labelled(
        np.concatenate([wide, wide]), labelled.layers, labelled.good, labelled.passable, labelled.clusters,
        labelled.parts, labelled.natural,
    )  # fmt: skip
    apart = [str(number) for number in range(160)]
    known = Labelled(
        leaking.states, leaking.layers, leaking.good, leaking.passable, apart, leaking.parts, leaking.natural
    )
    assert held_out_auc(known) > 0.95  # what folds that know no clusters would claim
    assert held_out_auc(leaking) < 0.7


@pytest.mark.parametrize("kind", ["instruction", "sample", "pair"])
def test_no_two_clusters_of_the_shipped_texts_hold_near_duplicates(kind: str) -> None:
    items = [one.item for one in labelled_items(kind, "explicit")]
    found = dict(zip([item.instruction for item in items], clusters_of(items), strict=True))
    known = NearDuplicateIndex(SAME_AT)
    near = 0
    for text, cluster in found.items():
        for other in known.near(text):
            assert found[other] == cluster
            near += 1
        known.add(text, text)
    assert near > 5


def test_noise_in_the_labels_lowers_the_figure() -> None:
    assert held_out_auc(made(300, noise=0.1)) < held_out_auc(made(300)) - 0.03


def test_noise_in_the_labels_is_told_by_how_many_of_them_a_probe_contradicts() -> None:
    told = []
    for noise in (0.0, 0.1):
        labelled = made(300, noise=noise, strength=2.5)
        found = fit("sample", labelled, {})
        told.append(set(doubtful(found.held_out.tolist(), labelled.good.tolist())))
    noisy = made(300, noise=0.1, strength=2.5).good
    flipped = {place for place, label in enumerate(noisy) if label != (place % 2 == 0)}
    assert len(told[0]) < 0.05 * 300 and len(told[1] & flipped) > 0.6 * len(flipped) > 15
    assert doubtful([1.0, 2.0], [True, True]) == []


def paired(n: int = 240, *, strength: float = 1.0, seed: int = 5) -> Labelled:
    """Differences of two texts of which the better one lies further along one direction, about a centre far away."""
    rng = np.random.default_rng(seed)
    good = np.arange(n) % 2 == 0
    sides = rng.normal(size=(2, n, 1, 2, SIZE)).astype(np.float32) + 50
    sides[0, :, 0, 0, 2] += strength * np.where(good, 1, -1)
    clusters = [str(number) for number in range(n)]
    natural = np.ones(n, dtype=bool)
    return Labelled(
        sides[0] - sides[1], (1,), good, good, clusters, ["own"] * n, natural, sides.mean(1).mean(0).astype(np.float32)
    )


def test_a_probe_of_two_texts_turns_its_sign_with_them_and_reads_each_alone() -> None:
    labelled = paired()
    found = fit("pair", labelled, {})
    assert held_out_auc(labelled) > 0.7 and found.probe.offset == 0
    turned = Labelled(
        -labelled.states, labelled.layers, ~labelled.good, ~labelled.good, labelled.clusters, labelled.parts,
        labelled.natural, labelled.centre,
    )  # fmt: skip
    assert np.allclose(fit("pair", turned, {}).held_out, -found.held_out, atol=1e-5)
    assert labelled.centre is not None
    first, second = labelled.centre[0] + labelled.states[0, 0] / 2, labelled.centre[0] - labelled.states[0, 0] / 2
    apart = found.probe.log_odds(first) - found.probe.log_odds(second)
    wanted = found.probe.slope * (labelled.states[0, 0].reshape(-1).astype(np.float64) @ found.probe.weights)
    assert apart == pytest.approx(wanted, abs=1e-4) and abs(found.probe.log_odds(labelled.centre[0])) < 1e-4


def test_three_grades_are_used_where_a_reader_gave_them() -> None:
    rng = np.random.default_rng(3)
    quality = rng.normal(size=600)
    states = rng.normal(size=(600, 1, 2, SIZE)).astype(np.float32)
    states[:, 0, 1, 3] += quality
    good, passable = quality > 1.3, quality > 0.2
    parts, clusters = ["own"] * 600, [str(number) for number in range(600)]
    two, three = (
        fit("sample", Labelled(states, (1,), good, kind, clusters, parts, np.ones(600, dtype=bool)), {})
        for kind in (good, passable)
    )
    reached = [auc(one.held_out[good].tolist(), one.held_out[~good].tolist()) or 0.0 for one in (two, three)]
    assert reached[1] >= reached[0] - 0.01 and reached[1] > 0.75
    assert not np.allclose(two.probe.weights, three.probe.weights)


@pytest.mark.parametrize(("good", "bad"), [(60, 0), (0, 60), (19, 60), (60, 19)])
def test_too_few_labels_or_all_of_one_kind_are_refused(good: int, bad: int) -> None:
    n = good + bad
    labels = np.arange(n) < good
    states = np.zeros((n, 1, 2, SIZE), dtype=np.float32)
    few = Labelled(states, (1,), labels, labels, [str(i) for i in range(n)], ["own"] * n, np.ones(n, dtype=bool))
    with pytest.raises(SpecError, match=f"there are {good} good and {bad} bad"):
        fit("sample", few, {})


def test_the_same_labels_give_the_same_weights() -> None:
    first, second = (fit("sample", made(), {}) for _ in range(2))
    assert (
        np.abs(first.probe.weights - second.probe.weights).max() <= 1e-6 and first.probe.sha256 == second.probe.sha256
    )


def test_layers_are_those_in_the_middle() -> None:
    assert layers_of(18) == (8, 10, 12, 14) and layers_of(64) == (29, 35, 43, 50) and layers_of(1) == (1,)


class Showing(FakeModel):
    """Shows states that say nothing, and counts how many texts it was asked for."""

    layers = 18

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        for request in requests:
            self.read += 1
            rng = np.random.default_rng(derived_seed(0, request.prompt) % 2**32)
            yield HiddenStates(request, rng.normal(size=(len(request.layers), 2, SIZE)).astype(np.float32))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "states"


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    with Store.open(tmp_path / "cai.duckdb") as store:
        yield Answers(Showing(), store, "session", Control())  # type: ignore[arg-type]


def test_a_probe_is_fitted_once_and_found_again(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = answers.model
    first = fitted(answers, "instruction")
    read = model.read
    again = fitted(answers, "instruction")
    assert read > 600 and model.read == read
    assert again.critic.probe.sha256 == first.critic.probe.sha256 and again.held_out == first.held_out
    reader = answers._reader
    assert stored_probe(reader, first.critic.probe.sha256).layer == first.critic.probe.layer
    with pytest.raises(StoreError, match="is not in the store"):
        stored_probe(reader, "0" * 64)
    model.fingerprint = "ot" * 8
    fitted(answers, "instruction")
    assert model.read == 2 * read  # another model's states: fitted anew
    known = reader.query("SELECT fit_id FROM probes ORDER BY fit_id")
    monkeypatch.setattr("engine.critics.probed.clusters_of", lambda items: [str(place) for place in range(len(items))])
    fitted(answers, "instruction")
    assert reader.query("SELECT fit_id FROM probes ORDER BY fit_id") != known  # other folds, of the same texts


class Killed(Exception):
    pass


class Dying(Showing):
    """Dies after so many texts."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        for answer in super().hidden(requests):
            if self.read > self._after:
                raise Killed
            yield answer


def test_states_that_were_computed_before_a_kill_are_found_again(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(3 * CHUNK)]
    with Store.open(tmp_path / "cai.duckdb") as store:
        dying = Answers(Dying(2 * CHUNK + 5), store, "session", Control())  # type: ignore[arg-type]
        with pytest.raises(Killed):
            states_of(dying, texts, (1, 2))
        again = Answers(Showing(), store, "session", Control())  # type: ignore[arg-type]
        found = states_of(again, texts, (1, 2))
        whole = states_of(Answers(Showing(), store, "session", Control()), texts, (1, 2))  # type: ignore[arg-type]
    assert again.model.read == CHUNK and found.shape == (3 * CHUNK, 2, 2, SIZE)  # type: ignore[attr-defined]
    assert np.array_equal(found, whole)


@pytest.mark.parametrize("damage", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_of_states_is_computed_again(answers: Answers, own_cache: Path, damage: bytes) -> None:
    before = states_of(answers, ["a", "b"], (1,))
    (kept,) = own_cache.rglob("*.npy")
    kept.write_bytes(damage)
    assert np.array_equal(states_of(answers, ["a", "b"], (1,)), before)
    assert np.array_equal(np.load(kept), before) and list(own_cache.rglob(".*")) == []


def test_a_cache_that_cannot_be_written_is_done_without(answers: Answers, own_cache: Path) -> None:
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("a file where a folder belongs")
    assert states_of(answers, ["a"], (1,)).shape == (1, 1, 2, SIZE)


def test_what_a_probe_says_is_kept_with_the_probe_that_said_it(answers: Answers) -> None:
    critic = fitted(answers, "instruction").critic
    asks = [critic.asks(Subject(str(n), f"Name {n} trees."))[0].request for n in range(3)]
    found = {scores.request.prompt: scores for _, scores in answers.score(asks)}
    rows = list(answers._reader.scores([key for key, _ in answers.score(asks)]).values())
    assert answers.reused == 3 and {row["readout"] for row in rows} == {critic.probe.sha256}
    for row in rows:
        request = score_request_of(row, lambda sha256: stored_probe(answers._reader, sha256))
        assert isinstance(request, Probed) and request.readout.sha256 == critic.probe.sha256
        good, bad = found[row["prompt"]].logprobs
        assert np.exp(good) + np.exp(bad) == pytest.approx(1) and list(row["logprobs"]) == [good, bad]


def test_a_model_without_states_is_refused_by_name_and_graded_by_labels_in_a_run(tmp_path: Path) -> None:
    with Store.open(tmp_path / "cai.duckdb") as store:
        answers = Answers(FakeModel(), store, "session", Control())  # type: ignore[arg-type]
        with pytest.raises(ModelError, match="reads hidden states"):
            fitted(answers, "instruction")
        spec = load_spec("stage_1_small_model", {"critics.instruction": "[probe]"}).settings
        name = stand_in(spec, "instruction", answers.model)
        assert name == "grade"
        critics = served(spec.critics, {"instruction": name})
        assert [one.critic.name for one in calibrate(answers, critics, "instruction")] == ["grade"]


def test_a_pair_is_judged_by_a_probe_of_its_own(answers: Answers) -> None:
    spec = load_spec("stage_6_small_model", {"critics.pair": "[probe]"}).settings.critics
    one, label = calibrate(answers, spec, "pair")
    assert not one.may_filter and (label.critic.name, label.critic.kind) == ("grade", "pair")
    assert [audit["part"] for audit in one.audits] == ["planted", "own", "fresh"]
    pair = Subject("p", "Name a tree.", "An oak.", "stop", "A chair.", "Which is better?")
    turned = Subject("p", "Name a tree.", "A chair.", "stop", "An oak.", "Which is better?")
    margins = []
    for subject in (pair, turned):
        asks = one.critic.asks(subject)
        found = {scores.request: scores for _, scores in answers.score(ask.request for ask in asks)}
        margins.append(one.critic.margin(subject, [found[ask.request] for ask in asks]))
    assert margins[0] == pytest.approx(-margins[1]) and margins[0] != 0


def test_an_audit_of_a_probe_is_of_held_out_items_by_part(answers: Answers) -> None:
    spec = load_spec("stage_1_small_model", {"critics.instruction": "[probe]"}).settings.critics
    one, label = calibrate(answers, spec, "instruction")
    assert [audit["part"] for audit in one.audits] == [
        "planted",
        "own",
        "fresh",
    ] and not one.may_filter  # states say nothing
    assert label.critic.name == "grade" and [audit["part"] for audit in label.audits] == ["planted", "own", "fresh"]
    alone = spec.model_copy(update={"min_auc": 0.0})
    assert [one.critic.name for one in calibrate(answers, alone, "instruction")] == ["probe"]
    for audit in one.audits:
        detail = audit["detail"]
        assert len(detail["scores"]) == audit["n_good"] + audit["n_bad"] and 0 <= detail["calibration_error"] <= 1
        assert detail["probe"] == one.critic.probe.sha256  # type: ignore[attr-defined]
        bins, accepted, n = detail["reliability"], detail["accepted"], len(detail["scores"])
        assert len(bins) == 10 and sum(one["n"] for one in bins) == n == accepted["n"]
        gaps = sum(one["n"] * abs(one["probability"] - one["share"]) for one in bins)
        assert detail["calibration_error"] == pytest.approx(gaps / n)
        taken = [detail["labels"][key] for key, score in detail["scores"].items() if score > spec.accept_above]
        assert (accepted["taken"], accepted["good"]) == (len(taken), sum(taken))
        assert accepted["natural"] == (audit["part"] != "planted")  # half of the planted ones are good by design


def test_what_accepting_gives_has_its_interval_and_nothing_made_up() -> None:
    scores, labels = [0.9, 0.5, 0.4, 0.1, -0.2], [True, False, True, True, False]
    found = accepted_above(0.4, scores, labels)
    assert (found["n"], found["taken"], found["good"], found["precision"]) == (5, 2, 1, 0.5)
    assert (found["lo"], found["hi"]) == wilson(1, 2) and found["recall"] == pytest.approx(1 / 3)
    none = accepted_above(2.0, scores, labels)
    assert none["taken"] == 0 and none["precision"] is none["lo"] is none["hi"] is None and none["recall"] == 0
    assert accepted_above(0.0, [1.0], [False])["recall"] is None


def test_bins_of_a_reliability_diagram_are_of_equal_count_and_in_order() -> None:
    log_odds = np.linspace(-3, 3, 103).tolist()
    bins = reliability(log_odds, [value > 0 for value in log_odds])
    assert sum(one["n"] for one in bins) == 103 and {one["n"] for one in bins} == {10, 11}
    means = [one["probability"] for one in bins]
    assert means == sorted(means) and bins[0]["share"] == 0 and bins[-1]["share"] == 1
    assert all(one["lo"] <= one["share"] <= one["hi"] for one in bins)
    assert len(reliability([0.1, 0.2], [True, False])) == 2  # no bin is empty


def test_log_odds_are_bounded_and_signed() -> None:
    probe = Probe("sample", 1, np.ones(2 * SIZE), 0.0, 100.0, 0.0)
    assert probe.log_odds(np.ones((2, SIZE), dtype=np.float32)) == 30.0
    assert probe.log_odds(-np.ones((2, SIZE), dtype=np.float32)) == -30.0


def test_a_probe_is_known_by_its_hash_alone() -> None:
    probe, again, other = (Probe("sample", 1, np.ones(2 * SIZE), bias, 1.0, 0.0) for bias in (0.0, 0.0, 1.0))
    assert Probed("A text", probe) == Probed("A text", again) != Probed("A text", other)
    assert len({probe, again, other}) == 2
