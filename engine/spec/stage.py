"""A stage's numbers: the YAML front matter of a file in specs/, validated, with what a person changed on top.

A key that nobody knows is an error that names the nearest one, so that a setting can't be silently ignored.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeGuard, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from engine.core.errors import SpecError
from engine.core.yaml_text import YamlFault, read_yaml
from engine.spec.sections import (
    AdapterSpec,
    BudgetSpec,
    CandidatesSpec,
    CriticsSpec,
    DpoSpec,
    EvaluationSpec,
    GateSpec,
    GuardSpec,
    InstructionsSpec,
    PairsSpec,
    Positive,
    ResponsesSpec,
    ReviewSpec,
    RevisionsSpec,
    RulesSpec,
    SftSpec,
    SpecSection,
    SplitsSpec,
)
from store.names import LARGEST_SEED

SPECS = Path(__file__).parent.parent.parent / "specs"


class StageSpec(SpecSection):
    """All numbers of a stage."""

    stage: Positive
    title: str
    written_for: str
    pilot: Positive
    target: Positive
    max_candidates_per_accepted: Positive
    expected_candidates_per_accepted: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=-LARGEST_SEED - 1, le=LARGEST_SEED)]
    guard: GuardSpec
    instructions: InstructionsSpec
    responses: ResponsesSpec
    critics: CriticsSpec
    rules: RulesSpec
    gate: GateSpec
    splits: SplitsSpec
    parent: str | None = None  # the stage whose adapter writes this stage's data
    revisions: RevisionsSpec | None = None
    candidates: CandidatesSpec | None = None
    pairs: PairsSpec | None = None
    adapter: AdapterSpec | None = None
    sft: SftSpec | None = None
    dpo: DpoSpec | None = None
    evaluation: EvaluationSpec | None = None
    review: ReviewSpec | None = None
    budget: BudgetSpec | None = None

    @model_validator(mode="after")
    def _together(self) -> StageSpec:
        parts = {"revisions": self.revisions, "candidates": self.candidates, "pairs": self.pairs}
        absent = [name for name, part in parts.items() if part is None]
        if absent and len(absent) < len(parts):
            raise ValueError(f"revisions, candidates and pairs come together; {absent[0]} is missing")
        if (self.sft or self.dpo) is not None and self.adapter is None:
            raise ValueError("adapter is missing, which sft and dpo train")
        if self.pairs is not None and not self.critics.pair:
            raise ValueError("critics.pair must name a critic where pairs are made")
        return self


@dataclass(frozen=True)
class LoadedSpec:
    """A spec file, what was changed on the command line, and the settings that result."""

    name: str
    path: Path
    sha256: str  # of the file's bytes
    settings: StageSpec
    overrides: dict[str, tuple[Any, Any]]  # key: (the spec's value, the value used)


def load_spec(name: str, overrides: Mapping[str, str] | None = None) -> LoadedSpec:
    """Read a spec by path or by its name in specs/ and apply `key=value` overrides (dotted keys, YAML values).

    Raises SpecError, which names the file, the line or the key, and the nearest valid key.
    """
    path = _find(name)
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")  # some editors put a byte order mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the spec {path} could not be read: {error}", "No run was started.") from error
    values = _front_matter(path, text)
    changed: dict[str, tuple[Any, Any]] = {}
    for key, value in (overrides or {}).items():
        old, new = _override(values, key, value)
        if old != new:
            changed[key] = (old, new)
    return LoadedSpec(path.stem, path, hashlib.sha256(raw).hexdigest(), validate(values, str(path)), changed)


def validate(values: Mapping[str, Any], where: str) -> StageSpec:
    """Settings from plain values; `where` is named in errors."""
    try:
        return StageSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError(f"{where}: {_explain(error)}", "Correct the spec or the --set; no run was started.") from None


def change(settings: Mapping[str, Any], overrides: Mapping[str, str]) -> StageSpec:
    """Settings with overrides applied, validated again."""
    values: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in settings.items()}
    for key, value in overrides.items():
        _override(values, key, value)
    return validate(values, "--set")


def keys() -> list[str]:
    """Every key that --set accepts, dotted."""
    found = []
    for name, field in StageSpec.model_fields.items():
        sections = [part for part in (field.annotation, *get_args(field.annotation)) if _is_section(part)]
        found += [f"{name}.{inner}" for inner in sections[0].model_fields] if sections else [name]
    return found


def _is_section(part: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(part, type) and issubclass(part, BaseModel)


def available() -> list[str]:
    """Names of the specs that come with the program."""
    return sorted(path.stem for path in SPECS.glob("stage_*.md"))


def _find(name: str) -> Path:
    for path in (Path(name).expanduser(), SPECS / name, SPECS / f"{name}.md"):
        if path.is_file():
            return path
    raise SpecError(
        f"no spec {name!r}",
        f"Give a path, or one of: {', '.join(available())}.{_did_you_mean(name, available())} No run was started.",
    )


def _front_matter(path: Path, text: str) -> dict[str, Any]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---" or "---" not in [line.strip() for line in lines[1:]]:
        raise SpecError(
            f"{path}: no YAML front matter between two lines of ---",
            "A spec begins with ---, its numbers, and another ---. No run was started.",
        )
    end = [line.strip() for line in lines[1:]].index("---") + 1
    try:
        values = read_yaml("\n".join(lines[1:end]))
    except YamlFault as fault:
        place = f", line {fault.line + 1}" if fault.line else ""  # the first line is ---
        raise SpecError(f"{path}{place}: {fault}", "Correct the front matter; no run was started.") from None
    if not isinstance(values, dict):
        raise SpecError(f"{path}: the front matter is not a mapping of keys", "No run was started.")
    return values


def _override(values: dict[str, Any], key: str, text: str) -> tuple[Any, Any]:
    if key not in keys():
        raise SpecError(
            f"unknown setting {key!r}{_did_you_mean(key, keys())}",
            "Settings are the keys of the spec, dotted: instructions.temperature=0.9. No run was started.",
        )
    try:
        new = read_yaml(text)
    except YamlFault as fault:
        raise SpecError(f"the value of {key} is not valid: {text[:80]!r} ({fault})", "No run was started.") from None
    *sections, last = key.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise SpecError(f"{section} must be a mapping of keys", "Correct the spec; no run was started.")
    old = place.get(last)
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        new = _as_float(new)
    place[last] = new
    return old, new


def _as_float(number: int) -> int | float:
    """The number as a float; one too large for that stays what it is, and is refused with the others."""
    try:
        return float(number)
    except OverflowError:
        return number


def _explain(error: ValidationError) -> str:
    parts = []
    for item in error.errors()[:4]:
        key = ".".join(str(part) for part in item["loc"]) or "spec"
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown key {key!r}{_did_you_mean(key, keys())}")
        elif item["type"] == "missing":
            parts.append(f"missing key {key!r}")
        else:
            parts.append(f"{key}: {item['msg']}, got {item['input']!r}"[:200])
    return "; ".join(parts)


def _did_you_mean(word: str, known: list[str]) -> str:
    by_last = {k.rsplit(".", 1)[-1]: k for k in known}
    near = difflib.get_close_matches(word, known, 1, 0.5) or [
        by_last[n] for n in difflib.get_close_matches(word.rsplit(".", 1)[-1], list(by_last), 1, 0.6)
    ]
    return f" (did you mean {near[0]!r}?)" if near else ""


def settings_of(run: Mapping[str, Any], overrides: Mapping[str, str] | None = None) -> StageSpec:
    """A run's stored settings, with overrides applied."""
    settings = run["settings"]
    if isinstance(settings, str):
        settings = json.loads(settings)
    return change(settings, overrides) if overrides else validate(settings, f"run {run['run_id']}")
