"""The names that rows hold and that callers choose from: phases, verdicts, splits, states, exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

COMMON_PHASES = (  # of every run
    "guard",
    "audit",
    "instructions",
    "instruction_judgements",
    "responses",
    "response_judgements",
    "gate",
)
PREFERENCE_PHASES = ("revisions", "candidates", "pairs", "pair_gate")  # of runs that make preference pairs
PHASES = (*COMMON_PHASES, *PREFERENCE_PHASES)
TRAINING_PHASES = ("sft", "dpo")  # of runs that were trained
# SFT on other data, to be compared with SFT: random candidates, and such of the accepted ones' lengths.
CONTROL_TRAININGS = ("sft_random", "sft_length")
SUPERVISED = ("sft", *CONTROL_TRAININGS)  # methods that learn responses; all others learn from pairs
TRAINED = (*TRAINING_PHASES, *CONTROL_TRAININGS)
EVALUATION = "evaluation"
REFIT = "refit"  # of runs whose probe was fitted again on persons' labels
BESIDE = (*TRAINED, EVALUATION, REFIT)  # phases that leave the state of a run's data as it was

# Phases whose model calls can be computed again.
REPLAYED = ("instructions", "instruction_judgements", "responses", "response_judgements", "revisions", EVALUATION)

STAND_INS = {"probe": ("adapter", "grade")}  # critics in a critic's place where a model cannot serve it, by turns

# In a manifest: whose training and evaluation a run repeats with another seed, and which repeat it is, from 1.
REPEAT_OF, REPEAT = "repeat_of", "repeat"

ELSEWHERE = "elsewhere"  # in a manifest: answers were computed by machines whose time no session of the run took
STOOD_IN = "stand_ins"  # in a manifest: {kind: critic} of probes that its model could not serve

# The parts of a critic's audit by how they came to be, which are never told in one figure: labelled sets, some of which
# critics are fitted on, and candidates of a run after the last fit. Whatever else there is, a person labelled.
CROSS_VALIDATED = ("planted", "own")
FRESH = ("fresh",)
AUDITED = (*CROSS_VALIDATED, *FRESH)  # that let a critic filter

MOST = 1_000_000_000  # of anything that is counted: columns of counts have 32 bits
LARGEST_SEED = 2**63 - 1  # the column has 64 bits, with a sign

VERDICTS = ("accepted", "rejected", "unsure")
SPLITS = ("train", "validation", "test")
LABELS = ("good", "bad", "unsure")  # that a person gives
ANSWER = "evaluation_answer"  # what a label is of, beside samples: `condition/item_id`
READERS = "readers"  # part of the scorer's audit: who read answers, and how far they agree
RANDOM, QUEUED, CHOSEN = "random", "queue", "chosen"  # how a sample came to be labelled
READING = "reading"  # the same of what was drawn to be read blind: it measures, and teaches nothing
BLIND = (READING, RANDOM, QUEUED)  # labels whose verdict was hidden when they were given: they count as read
READ_AT_LEAST, READ_AT_MOST = 30, 1000  # candidates that a person reads: where a spec says nothing else, and ever
PERSON, DRAWN = "person", "drawn"  # parts of an audit by a person's labels: of samples chosen, of those drawn at random
PERSON_PARTS = (PERSON, DRAWN)
PAIR_SOURCES = ("revision", "best_of", "hard_negative", "boundary")

ALIVE = ("running", "paused")  # what a run or a training says of itself while its process works on it
# States of a stored run that has work left to do; a process that was killed leaves "running" behind.
RESUMABLE = frozenset({*ALIVE, "stopped", "waiting", "budget_reached", "failed"})
FINISHED = frozenset({"done", "stopped", "gate_failed", "locked", "refused", "waiting", "budget_reached", "failed"})


def preferred(critics: Sequence[str]) -> list[str]:
    """The critics that a spec names, the preferred one first, each with its stand-ins right behind it."""
    return list(dict.fromkeys(each for name in critics for each in (name, *STAND_INS.get(name, ()))))


What = Literal["sft", "samples", "judgements", "pairs", "revisions"]
Format = Literal["jsonl", "parquet", "hf"]
EXPORTS: tuple[What, ...] = get_args(What)
FORMATS: tuple[Format, ...] = get_args(Format)
