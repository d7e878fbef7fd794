"""A stage's numbers: the YAML front matter of a file in specs/, validated, with what a person changed on top.

A key that nobody knows is an error that names the nearest one, so that a setting can't be silently ignored.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import SpecError

SPECS = Path(__file__).parent.parent / "specs"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class _Section(BaseModel):
    # Strict: "0.7" in quotes or a yes where a number belongs is a mistake, not something to convert.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GuardSpec(_Section):
    """Limits of the contamination guard; see docs/BASE_MODEL_TRUTH.md."""

    max_tokens: Positive
    max_eos_rate: Share
    max_empty_rate: Share
    min_known_answers: Share


class InstructionsSpec(_Section):
    kind: Literal["explicit", "implicit", "generation", "evaluation", "revision"] = "explicit"  # which seeds are shown
    examples: Positive
    round: Positive
    max_tokens: Positive
    temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=0)]
    top_p: Share
    duplicate_at: Share
    cluster_at: Share
    min_words: Positive
    max_words: Positive
    steer: bool


class ResponsesSpec(_Section):
    examples: Positive
    max_tokens: Positive
    temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=0)]
    top_p: Share


class CriticsSpec(_Section):
    shuffles: Positive
    audit_items: Positive  # of each part of the calibration set, good and bad alike, from its beginning
    instruction: list[str]
    sample: list[str]
    pair: list[str] = []  # of two responses; the first that may filter decides
    min_auc: Share
    wanted_precision: Share
    accept_above: float
    unsure_above: float

    @model_validator(mode="after")
    def _ordered(self) -> CriticsSpec:
        if self.unsure_above > self.accept_above:
            raise ValueError("unsure_above must not exceed accept_above")
        return self


class RulesSpec(_Section):
    repeated_trigrams: Share
    echo: Share


class GateSpec(_Section):
    runaway_below: Share
    token_limit_below: Share
    marker_leaks_at_most: Annotated[int, Field(ge=0)]
    median_tokens_below: Positive
    instruction_acceptance_at_least: Share
    pair_acceptance_at_least: Share
    distinct_at_least: Share
    audited_critics_at_least: Annotated[int, Field(ge=0)]  # critics of each kind whose audit lets them filter


class RevisionsSpec(_Section):
    """Critique and revision by principles of the constitution."""

    rounds: Annotated[int, Field(ge=1, le=4)]
    form: Literal["requests", "principle"]  # what the model is shown of a principle
    examples: Positive
    critique_tokens: Positive
    revision_tokens: Positive
    temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=0)]
    top_p: Share
    keep_margin_nats: float  # by which the comparison must prefer the revision in both orders
    unchanged_below: Share  # edit distance to what was revised
    copied_at: Share  # ROUGE-L to a text of a solved example
    longer_only_at: Share  # share of words added to an original that is kept as it was
    length_ratio_at_most: Annotated[float, Field(gt=0)]
    length_ratio_at_least: Share


class CandidatesSpec(_Section):
    """Other responses to the same instructions."""

    best_of: Positive  # candidates of each instruction, its sample among them; 1 draws none
    temperature: Annotated[float, Field(ge=0)]
    top_k: Annotated[int, Field(ge=0)]
    top_p: Share
    hard_negatives: list[str]  # kinds; each sample gets one of them
    boundary_prompts: Annotated[int, Field(ge=0)]  # of those shipped, from their beginning; twins stand together


class PairsSpec(_Section):
    """Which preference pairs are kept, and what their gate asks for. A source's share of 0 switches it off."""

    revision: Share
    best_of: Share
    hard_negative: Share
    boundary: Share
    min_margin_nats: float
    near_identical_at: Share
    per_instruction: Positive
    clamp: Annotated[list[Share], Field(min_length=2, max_length=2)] | None
    pairs_at_least: Annotated[int, Field(ge=0)]
    chosen_longer_at_most: Share
    audited_critics_at_least: Annotated[int, Field(ge=0)]

    @property
    def quotas(self) -> dict[str, float]:
        """The largest share of all pairs that each source may have."""
        return {name: getattr(self, name) for name in ("revision", "best_of", "hard_negative", "boundary")}

    @model_validator(mode="after")
    def _possible(self) -> PairsSpec:
        on = [share for share in self.quotas.values() if share > 0]
        if sum(on) < 1:
            raise ValueError("the sources' shares must add up to 1 or more, else no set of pairs can keep to them")
        if len(on) > 1 and sum(on) - max(on) < 1 - 1e-9:
            raise ValueError("the sources' shares must reach 1 without any one of them, which may yield nothing")
        if self.clamp is not None and self.clamp[0] > self.clamp[1]:
            raise ValueError("clamp must be a lower and an upper bound")
        return self


class AdapterSpec(_Section):
    """The low-rank adapter that is trained (Hu et al. 2021, arXiv 2106.09685)."""

    kind: Literal["lora", "qlora"]  # qlora: base weights in nf4, computed in bfloat16; needs a GPU
    rank: Positive
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    target_modules: str | list[str]  # "all-linear": every linear layer but the output matrix
    loader: Literal["auto", "plain"]  # auto: Unsloth where it is installed and the GPU allows it


class _TrainingSection(_Section):
    """What SFT and preference training have in common."""

    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["constant", "linear", "cosine"]
    warmup_share: Share  # of all steps
    effective_batch: Positive  # examples that one step of the optimiser learns from, on whatever device
    epochs: Annotated[float, Field(gt=0)]
    max_length: Positive  # tokens of prompt and response; longer examples are left out, never cut
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    checkpoint_every: Positive  # steps; the held-out loss is measured then, too
    patience: Annotated[int, Field(ge=0)]  # measurements without a better held-out loss before it stops; 0 never
    examples_at_least: Positive


class SftSpec(_TrainingSection):
    """Supervised fine-tuning on accepted responses."""

    packing: bool  # several examples in one row, each seeing only itself


class DpoSpec(_TrainingSection):
    """Preference training from the SFT adapter; see docs/POST_TRAINING_APPROACHES.md for the losses."""

    loss: Literal["dpo", "ipo", "kto", "orpo", "simpo"]
    beta: Annotated[float, Field(gt=0)]
    heldout_share: Annotated[float, Field(ge=0, lt=1)]  # of the instructions, whose pairs measure the held-out loss
    precompute_reference: bool  # reference log-probabilities once before training instead of at every step
    rounds: Positive  # above 1: the trained model writes new pairs and goes on from them, with `cai refresh`


class SplitsSpec(_Section):
    train: Share
    validation: Share
    test: Share

    @model_validator(mode="after")
    def _whole(self) -> SplitsSpec:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must add up to 1")
        return self


class StageSpec(_Section):
    """All numbers of a stage."""

    stage: Positive
    title: str
    written_for: str
    pilot: Positive
    target: Positive
    max_candidates_per_accepted: Positive
    expected_candidates_per_accepted: Annotated[float, Field(gt=0)]
    seed: int
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
        text = raw.decode()
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
        values = yaml.safe_load("\n".join(lines[1:end]))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 2}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise SpecError(f"{path}{place}: {problem}", "Correct the front matter; no run was started.") from None
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
        new = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SpecError(f"the value of {key} is not valid: {text!r}", "No run was started.") from None
    *sections, last = key.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise SpecError(f"{section} must be a mapping of keys", "Correct the spec; no run was started.")
    old = place.get(last)
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        new = float(new)
    place[last] = new
    return old, new


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


Verdict = Literal["accepted", "rejected", "unsure"]
