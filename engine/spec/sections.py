"""The sections of a spec's front matter: what each setting is and what it may be.

A section is strict: "0.7" in quotes or a yes where a number belongs is a mistake, not something to convert.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from store.names import MOST, PAIR_SOURCES, READ_AT_LEAST, READ_AT_MOST, preferred

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]


class SpecSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class GuardSpec(SpecSection):
    """Limits of the contamination guard; see docs/BASE_MODEL_TRUTH.md."""

    max_tokens: Positive
    max_eos_rate: Share
    max_empty_rate: Share
    min_known_answers: Share


class InstructionsSpec(SpecSection):
    kind: Literal["explicit", "implicit", "generation", "evaluation", "revision"] = "explicit"  # which seeds are shown
    level: Literal["varied", "simple"] = "varied"  # explicit ones: simple seeds ask for what a small model can do
    examples: Positive
    round: Positive
    max_tokens: Positive
    temperature: Annotated[float, Field(ge=0, le=2)]  # servers take no more
    top_k: Count
    top_p: Share
    duplicate_at: Share
    cluster_at: Share
    min_words: Positive
    max_words: Positive
    steer: bool

    def shown(self, name: str) -> str:
        """The shipped file of seeds or of response examples that is shown for this kind and level."""
        if self.kind != "explicit":
            return f"{name}_{self.kind}"
        return name if self.level == "varied" else f"{name}_simple"


class ResponsesSpec(SpecSection):
    examples: Positive
    max_tokens: Positive
    temperature: Annotated[float, Field(ge=0, le=2)]  # servers take no more
    top_k: Count
    top_p: Share
    drafts: Positive = 1  # responses written to each instruction, of which one becomes its sample


class CriticsSpec(SpecSection):
    shuffles: Positive
    audit_items: Positive  # of each part of the calibration set, good and bad alike, from its beginning
    instruction: list[str]
    sample: list[str]
    pair: list[str] = []  # of two responses; the first that may filter decides
    min_auc: Share
    wanted_precision: Share
    accept_above: float
    unsure_above: float
    # The probability of being good at which a probe's score is 0: its log-odds less those of this share.
    probe_instruction_at: OpenShare = 0.5
    probe_sample_at: OpenShare = 0.5

    def preferred(self, kind: str) -> list[str]:
        """The critics of a kind, the preferred one first, each with what stands in for it."""
        return preferred(getattr(self, kind))

    @model_validator(mode="after")
    def _ordered(self) -> CriticsSpec:
        if self.unsure_above > self.accept_above:
            raise ValueError("unsure_above must not exceed accept_above")
        return self


class RulesSpec(SpecSection):
    repeated_trigrams: Share
    echo: Share


class GateSpec(SpecSection):
    runaway_below: Share
    token_limit_below: Share
    marker_leaks_at_most: Count
    median_tokens_below: Positive
    instruction_acceptance_at_least: Share
    pair_acceptance_at_least: Share
    distinct_at_least: Share
    audited_critics_at_least: Count  # critics of each kind whose audit lets them filter
    read_at_least: Annotated[int, Field(ge=0, le=READ_AT_MOST)] = (
        READ_AT_LEAST  # candidates that a person reads blind; fewer fail nothing, and are told
    )


class RevisionsSpec(SpecSection):
    """Critique and revision by principles of the constitution."""

    rounds: Annotated[int, Field(ge=1, le=4)]
    form: Literal["requests", "principle"]  # what the model is shown of a principle
    examples: Positive
    critique_tokens: Positive
    revision_tokens: Positive
    temperature: Annotated[float, Field(ge=0, le=2)]  # servers take no more
    top_k: Count
    top_p: Share
    keep_margin_nats: float  # by which the comparison must prefer the revision in both orders
    unchanged_below: Share  # edit distance to what was revised
    copied_at: Share  # ROUGE-L to a text of a solved example
    longer_only_at: Share  # share of words added to an original that is kept as it was
    length_ratio_at_most: Annotated[float, Field(gt=0)]
    length_ratio_at_least: Share


class CandidatesSpec(SpecSection):
    """Other responses to the same instructions."""

    best_of: Positive  # candidates of each instruction, its sample among them; 1 draws none
    temperature: Annotated[float, Field(ge=0, le=2)]  # servers take no more
    top_k: Count
    top_p: Share
    hard_negatives: list[str]  # kinds; each sample gets one of them
    boundary_prompts: Count  # of those shipped, from their beginning; twins stand together


class PairsSpec(SpecSection):
    """Which preference pairs are kept, and what their gate asks for. A source's share of 0 switches it off."""

    revision: Share
    best_of: Share
    hard_negative: Share
    boundary: Share
    min_margin_nats: float
    near_identical_at: Share
    per_instruction: Positive
    clamp: Annotated[list[Share], Field(min_length=2, max_length=2)] | None
    pairs_at_least: Count
    chosen_longer_at_most: Share
    audited_critics_at_least: Count
    # What the stage itself has to yield; 0 asks for none, and its gate then says that this was not tested.
    revisions_at_least: Count = 1
    best_of_at_least: Count = 1
    decided_by_critic_at_least: Count = 1

    def at_least(self, source: str) -> int:
        """What a source has to yield; nothing where it is switched off."""
        wanted = {"revision": self.revisions_at_least, "best_of": self.best_of_at_least}[source]
        return wanted if self.quotas[source] > 0 else 0

    @property
    def quotas(self) -> dict[str, float]:
        """The largest share of all pairs that each source may have."""
        return {name: getattr(self, name) for name in PAIR_SOURCES}

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


class AdapterSpec(SpecSection):
    """The low-rank adapter that is trained (Hu et al. 2021, arXiv 2106.09685)."""

    kind: Literal["lora", "qlora"]  # qlora: base weights in nf4, computed in bfloat16; needs a GPU
    rank: Positive
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    target_modules: str | list[str]  # "all-linear": every linear layer but the output matrix
    loader: Literal["auto", "plain"]  # auto: Unsloth where it is installed and the GPU allows it


class TrainingSection(SpecSection):
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
    patience: Count  # measurements without a better held-out loss before it stops; 0 never
    examples_at_least: Positive


class SftSpec(TrainingSection):
    """Supervised fine-tuning on accepted responses."""

    packing: bool  # several examples in one row, each seeing only itself


class DpoSpec(TrainingSection):
    """Preference training from the SFT adapter; see docs/POST_TRAINING_APPROACHES.md for the losses."""

    loss: Literal["dpo", "ipo", "kto", "orpo", "simpo"]
    beta: Annotated[float, Field(gt=0)]
    heldout_share: Annotated[float, Field(ge=0, lt=1)]  # of the instructions, whose pairs measure the held-out loss
    precompute_reference: bool  # reference log-probabilities once before training instead of at every step
    rounds: Positive  # above 1: the trained model writes new pairs and goes on from them, with `cai refresh`


class EvaluationSpec(SpecSection):
    """Held-out items, the scorer's audit, the gap gate and the tests of the claim; see engine/evaluation."""

    capability: Literal["instruction_following", "conversation"]  # whose gap the gate asks for, and the claim is about
    reference: str | None  # an instruct model that is asked the same items, to show that they can be done
    items_per_type: Positive | None  # of each split, from the beginning of the frozen set; null: all
    conversations: bool  # whether the multi-turn set is asked too
    max_tokens: Positive
    examples: Positive  # solved ones in the few-shot condition
    repeat_share: Share  # of the items, asked again one at a time
    scorer_accuracy_at_least: Share  # on planted answers, for each item type
    flips_at_most: Share  # verdicts that change when an answer is padded by a sentence that says nothing
    length_correlation_at_most: Share  # of success with length within a condition, in absolute value
    person_kappa_at_least: Share  # between a person and the scorer, where a person has read
    # All conditions that the ceiling is for; without one the gate would ask nothing.
    gap_conditions: Annotated[list[Literal["base_raw", "base_formatted", "base_few_shot"]], Field(min_length=1)]
    base_at_most: Share
    reference_at_least: Share
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    power: Annotated[float, Field(gt=0, lt=1)]
    expected_gain: Annotated[float, Field(gt=0, lt=1)]  # share of items that become right, for the forecast of power
    expected_loss: Annotated[float, Field(ge=0, lt=1)]  # share that become wrong
    # Intra-cluster correlation of differences within templates, for the design effect of the forecast.
    expected_icc: Share = 0.1
    margin: Annotated[float, Field(gt=0, lt=1)]  # a loss of less is no regression
    # Descriptive unless registered: the base shown accepted examples, SFT on random ones, on random ones as long.
    controls: list[Literal["base_in_context", "sft_random", "sft_length"]] = []
    context_tokens: Positive = 8192  # of a prompt with accepted examples, where the model's context holds more
    reference_logprobs: bool = False  # whether each condition also scores the reference answers: a forward pass an item
    # Who compares answers in pairs: "reviewer", the model of the reviewer's settings, or a local model; null: nobody.
    judge: str | None = None
    judge_items: Positive = 96  # test items of each of the judge's two questions, both orders of each pair

    @model_validator(mode="after")
    def _planned(self) -> EvaluationSpec:
        if self.expected_gain + self.expected_loss > 1:
            raise ValueError("expected_gain and expected_loss are shares of the same items: their sum is at most 1")
        if self.power <= self.alpha:
            raise ValueError("power must be above alpha, which a test has without any effect")
        return self


class ReviewSpec(SpecSection):
    """Which decisions wait for a review: of whom is the machine's configuration, not the methodology's."""

    ask: list[Literal["pilot", "override", "gap", "sft", "dpo", "claim"]]
    samples: Positive  # shown with their margins in a request


class BudgetSpec(SpecSection):
    """What the whole experiment may cost, over all runs of a store."""

    cap_usd: Annotated[float, Field(gt=0)]
    warn_at: list[Share]  # shares of the cap


class SplitsSpec(SpecSection):
    train: Share
    validation: Share
    test: Share

    @model_validator(mode="after")
    def _whole(self) -> SplitsSpec:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must add up to 1")
        return self
