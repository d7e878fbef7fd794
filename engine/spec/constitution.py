"""The constitution: principles from constitution.yaml, validated, and which of them each item is measured by.

In the sense of Bai et al. 2022 (arXiv 2212.08073, section 3.1 and appendix C): a principle is a critique request, a
revision request, and a question that compares two responses.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from engine.core.errors import SpecError
from engine.core.yaml_text import YamlFault, compose_yaml
from engine.spec.provenance import derived_seed

CONSTITUTION = Path(__file__).parent.parent.parent / "constitution.yaml"
CATEGORIES = ("helpfulness", "honesty", "harmlessness")
MIN_PRINCIPLES = 16
_FIELDS = ("id", "category", "text", "critique_request", "revision_request", "comparison")
_ID = re.compile(r"[a-z][a-z0-9_]{2,39}")


@dataclass(frozen=True, slots=True)
class Principle:
    """One principle: what it asks for, and how the model is asked to criticise, revise and compare by it."""

    id: str
    category: str
    text: str
    critique_request: str
    revision_request: str
    comparison: str


@dataclass(frozen=True)
class Constitution:
    """All principles with the weights of their categories; `sha256` is that of the file's bytes."""

    version: int
    sha256: str
    weights: Mapping[str, float]
    principles: tuple[Principle, ...]

    @cached_property
    def by_id(self) -> dict[str, Principle]:
        return {principle.id: principle for principle in self.principles}

    def facts(self) -> dict[str, Any]:
        """What a manifest keeps of it."""
        return {"version": self.version, "sha256": self.sha256, "principles": [p.id for p in self.principles]}

    @cached_property
    def shares(self) -> dict[str, float]:
        """How often each principle is to be drawn, as a share: its category's weight over the category's size."""
        sizes = Counter(principle.category for principle in self.principles)
        total = sum(self.weights[category] for category in sizes)
        return {p.id: self.weights[p.category] / sizes[p.category] / total for p in self.principles}

    def allot(
        self, run_seed: int, round_: int, items: Sequence[str], given: Mapping[str, str], barred: Mapping[str, set[str]]
    ) -> dict[str, str]:
        """A principle for each item of a round, {item: principle id}, seeded and balanced.

        Items are taken in order; each gets, of the principles that it is not `barred` from, the one furthest behind its
        share (Webster's method of apportionment), ties decided by the item's own seed. Those that were `given` one
        before keep it. So a run that was interrupted goes on to the same principles, and later items change none of the
        earlier ones.
        """
        drawn: Counter[str] = Counter()
        found: dict[str, str] = {}
        for item in items:
            name = given.get(item)
            if name is None:
                rng = random.Random(derived_seed(run_seed, "principle", round_, item))
                barred_here = barred.get(item, set())
                free = [p.id for p in self.principles if p.id not in barred_here and self.shares[p.id] > 0]
                free = free or [p.id for p in self.principles if self.shares[p.id] > 0]
                name = min(free, key=lambda p: (round((drawn[p] + 0.5) / self.shares[p], 9), rng.random()))
            drawn[name] += 1
            found[item] = name
        return found

    def irrelevant_to(self, principle_id: str, run_seed: int, item: str) -> Principle:
        """A principle of another category, drawn for the item: what an ablation puts in the place of the right one."""
        own = self.by_id[principle_id].category
        others = [principle for principle in self.principles if principle.category != own]
        return random.Random(derived_seed(run_seed, "irrelevant", principle_id, item)).choice(others)


def load_constitution(path: Path | None = None) -> Constitution:
    """Read and check a constitution, by default the one at the top of the checkout.

    Raises SpecError, which names the file, the line, and what is wrong there.
    """
    path = path or CONSTITUTION
    try:
        raw = path.read_bytes()
        node = compose_yaml(raw.decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the constitution {path} could not be read: {error}", "No run was started.") from error
    except YamlFault as fault:
        raise _wrong(path, fault.line or None, str(fault)) from None
    top = _mapping(path, node, "the constitution", ("version", "weights", "principles"))
    version = _plain(path, top["version"])
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _wrong(path, _line(top["version"]), f"version must be a whole number from 1, not {version!r}")
    weights = {}
    for name, value_node in _mapping(path, top["weights"], "weights", CATEGORIES).items():
        value = _plain(path, value_node)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise _wrong(path, _line(value_node), f"the weight of {name} must be a number from 0, not {value!r}")
        weights[name] = float(value)
    if not sum(weights.values()):
        raise _wrong(path, _line(top["weights"]), "at least one weight must be above 0")
    principles = _principles(path, top["principles"])
    return Constitution(version, hashlib.sha256(raw).hexdigest(), weights, principles)


def _principles(path: Path, node: Any) -> tuple[Principle, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong(path, _line(node), "principles must be a list")
    found: list[Principle] = []
    ids: set[str] = set()
    for entry in node.value:
        fields = _mapping(path, entry, f"principle {len(found) + 1}", _FIELDS)
        values = {}
        for name, value_node in fields.items():
            value = _plain(path, value_node)
            if not isinstance(value, str) or not value.strip():
                raise _wrong(path, _line(value_node), f"{name} must be a text, not {value!r}")
            if len(value.strip().splitlines()) > 1:
                raise _wrong(path, _line(value_node), f"{name} must be one line: a line break would end a prompt")
            values[name] = value.strip()
        if not _ID.fullmatch(values["id"]):
            raise _wrong(path, _line(fields["id"]), f"the id {values['id']!r} must be lower_case_with_underscores")
        if values["id"] in ids:
            raise _wrong(path, _line(fields["id"]), f"the id {values['id']!r} is there twice")
        if values["category"] not in CATEGORIES:
            raise _wrong(path, _line(fields["category"]), f"category must be one of {', '.join(CATEGORIES)}")
        ids.add(values["id"])
        found.append(Principle(**values))
    if len(found) < MIN_PRINCIPLES:
        raise _wrong(path, _line(node), f"{len(found)} principles, at least {MIN_PRINCIPLES} are needed")
    absent = [name for name in CATEGORIES if all(p.category != name for p in found)]
    if absent:
        raise _wrong(path, _line(node), f"no principle of the category {absent[0]}")
    return tuple(found)


def _mapping(path: Path, node: Any, what: str, fields: Iterable[str]) -> dict[str, Any]:
    """The nodes of a mapping that must have exactly these keys."""
    wanted = tuple(fields)
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, _line(node) if node is not None else 1, f"{what} must be a mapping of keys")
    found: dict[str, Any] = {}
    for key, value in node.value:
        if key.value not in wanted:
            raise _wrong(path, _line(key), f"unknown key {key.value!r} in {what}; known: {', '.join(wanted)}")
        if key.value in found:
            raise _wrong(path, _line(key), f"the key {key.value!r} is there twice in {what}")
        found[key.value] = value
    if absent := [name for name in wanted if name not in found]:
        raise _wrong(path, _line(node), f"{what} has no {absent[0]!r}")
    return found


def _plain(path: Path, node: Any) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        problem = getattr(error, "problem", None) or str(error)
        raise _wrong(path, _line(node), problem) from None


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _wrong(path: Path, line: int | None, problem: str) -> SpecError:
    place = f", line {line}" if line else ""
    return SpecError(f"{path}{place}: {problem}", "Correct the constitution; no run was started.")


CONDITIONS = ("with", "without", "irrelevant")
