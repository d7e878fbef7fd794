"""What the benchmark of improvement compares: conditions, settings of their runs, their examples, and the folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.common import MODEL
from engine.run.orders import NewRun
from engine.training.examples import Examples, examples
from store.read import Reader

SPEC = "stage_6_small_model"
# Of each condition: the run whose data it learns, what is trained, and as what the evaluation asks it.
CONDITIONS = {
    "rules": ("rules", ("sft",), "sft"),
    "critic": ("critic", ("sft",), "sft"),
    "critic_dpo": ("critic", ("sft", "dpo"), "dpo"),
}
# What all runs have in common. Gates are opened, since the question is what data do and not whether they are enough;
# nothing is held out of training and nothing ends it early, so that all learn from as many examples for as long.
COMMON = {
    "instructions.level": "simple",
    "critics.instruction": "[probe]", "critics.sample": "[probe]", "critics.pair": "[probe]",
    "gate.runaway_below": "1.0", "gate.token_limit_below": "1.0", "gate.median_tokens_below": "97",
    "gate.instruction_acceptance_at_least": "0.0", "gate.pair_acceptance_at_least": "0.0",
    "splits.train": "1.0", "splits.validation": "0.0", "splits.test": "0.0",
    "pairs.revision": "0.0", "pairs.hard_negative": "0.0", "pairs.boundary": "0.0",
    "pairs.min_margin_nats": "0.5", "pairs.pairs_at_least": "1", "pairs.chosen_longer_at_most": "1.0",
    "pairs.best_of_at_least": "0", "pairs.decided_by_critic_at_least": "0",
    "sft.examples_at_least": "1", "dpo.examples_at_least": "1", "dpo.heldout_share": "0.0",
    "evaluation.base_at_most": "1.0", "evaluation.repeat_share": "0.0", "evaluation.gap_conditions": "[base_formatted]",
}  # fmt: skip
BY_RULES = {"critics.min_auc": "1.0", "responses.drafts": "1"}  # no audit reaches it: the rules alone accept
BY_CRITIC = {"critics.min_auc": "0.0"}  # whatever its audit says: whether it helps is what is asked


@dataclass(frozen=True)
class BenchSettings:
    """What `make` was asked for; the other steps read it from the folder."""

    examples: int
    seeds: list[int]
    items_per_type: int
    instructions: int
    sample_at: float
    changed: dict[str, str]

    @property
    def overrides(self) -> dict[str, str]:
        """Of all runs, `--set` last."""
        own = {"critics.probe_sample_at": f"{self.sample_at}", "evaluation.items_per_type": f"{self.items_per_type}"}
        return COMMON | own | self.changed

    def new_run(self, store: Path, seed: int, critic: bool, until: str | None, pilot: int) -> NewRun:
        how = BY_CRITIC if critic else BY_RULES
        return NewRun(store, spec=SPEC, model=MODEL, seed=seed, pilot=pilot, until=until,
                      overrides=self.overrides | how)  # fmt: skip


class BenchFolder:
    """The folder of one benchmark and what it holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "improvement.duckdb"

    def file(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str, step: str) -> Any:
        """A JSON file of the folder; `step` is what writes it."""
        try:
            return json.loads(self.file(name).read_text())
        except FileNotFoundError:
            raise SystemExit(f"{self.file(name)} is not there: do the step `{step}` first. Nothing was done.") from None

    def write(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Aside, then renamed: a file is there as a whole or not at all."""
        aside = self.file(f"{name}.partial")
        aside.write_text(text)
        aside.rename(self.file(name))

    @property
    def settings(self) -> BenchSettings:
        return BenchSettings(**self.read("settings.json", "make"))

    @property
    def runs(self) -> dict[str, str]:
        """Run ids by "SEED ARM" and "unseen"."""
        return dict(self.read("runs.json", "make"))


def only_first(n: int) -> Callable[[Reader, Mapping[str, Any], str, float], Examples]:
    """The engine's examples, of the first n accepted samples by place alone; pairs are those of their instructions.

    A run accepts somewhat more than it was asked for, each run another number: the budget is to be the same.
    """

    def found(reader: Reader, run: Mapping[str, Any], method: str, heldout_share: float) -> Examples:
        whole = examples(reader, run, method, heldout_share)
        samples = whole if method == "sft" else examples(reader, run, "sft", 0.0)
        return first_of(whole, samples, n)

    return found


def first_of(whole: Examples, samples: Examples, n: int) -> Examples:
    """Of `whole` what belongs to the instructions of the first n `samples`."""
    kept = {samples.of[row["id"]] for row in samples.train[:n]}
    return replace(whole, train=[row for row in whole.train if whole.of[row["id"]] in kept])
