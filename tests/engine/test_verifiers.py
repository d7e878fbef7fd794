"""Verifiers against answers whose verdict is known, and against text of any kind."""

import hashlib

import pytest

from engine.evaluation import items, verifiers
from engine.evaluation.items import item_set, plants
from engine.evaluation.verifiers import scorer_sha256, verify

TYPES = [item_type for types in items.TYPES.values() for item_type in types]


@pytest.mark.parametrize("item_type", TYPES)
def test_planted_answers_are_judged_as_they_must_be(item_type: str) -> None:
    made = [plant for item in item_set().items if item.item_type == item_type for plant in plants(item)]
    verdicts = [(plant, verify(plant.item, plant.answer)) for plant in made]
    wrong = [(p.item.item_id, p.kind, p.answer, v.why) for p, v in verdicts if v.correct != p.right]
    assert wrong == []
    assert all(verdict.why.endswith((".", "…")) or len(verdict.why) < 200 for _, verdict in verdicts)


def test_the_scorers_hash_is_that_of_its_files() -> None:
    assert len(scorer_sha256()) == 64 == len(hashlib.sha256().hexdigest())
    assert all((verifiers.Path(verifiers.__file__).parent / name).is_file() for name in verifiers.SCORER_FILES)
