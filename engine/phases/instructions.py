"""Instructions: the base model goes on with numbered lists, and what is new and sound is kept.

Lists are asked for in rounds of a fixed size, and lines are considered in the order of the requests, whatever the order
of the answers: prompts depend on what was kept in earlier rounds only, so neither the batch size nor an interruption
changes them.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from engine.core.data import read_data
from engine.core.errors import NothingParsed
from engine.models.answers import Answered
from engine.models.requests import Completion, Decoding, Generate
from engine.phases.flow import Lane, Tally
from engine.phases.work import Work
from engine.quality.rules import TopicGuess, instruction_status
from engine.spec import prompts
from engine.spec.provenance import derived_seed, short_hash
from engine.stats.similarity import NearDuplicateIndex, words

PHASE = "instructions"
BARREN_ROUNDS = 4  # rounds without one new instruction before giving up


class Instructions:
    """Writes instructions until enough distinct ones are kept."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._seeds = read_data(work.spec.instructions.shown("seeds"))
        self._topic = TopicGuess([(row["topic"], row["text"]) for row in self._seeds])
        spec = work.spec.instructions
        self._decoding = Decoding(spec.max_tokens, spec.temperature, spec.top_k, spec.top_p)
        self._known = NearDuplicateIndex(min(spec.duplicate_at, spec.cluster_at))
        for row in self._seeds:
            self._known.add(row["id"], row["text"])
        self._clusters: dict[str, str] = {row["id"]: row["id"] for row in self._seeds}
        self._topics: Counter[str] = Counter()
        self._openings: Counter[str] = Counter()
        self._round = 0
        self._barren = 0
        self.considered = 0
        self._places: list[int] = []  # ordinals of those that were kept

    @property
    def distinct(self) -> int:
        """How many were kept."""
        return len(self._places)

    def place(self, n: int) -> int:
        """The ordinal of the nth that was kept; -1 for none."""
        return self._places[n - 1] if n else -1

    def lane(self, tally: Tally, wanted: int, at_most: int, then: Callable[[], None]) -> Lane:
        """Lists until `wanted` distinct instructions are kept or `at_most` lines were considered.

        Lines are kept as soon as all lists in front of theirs are there; `then` is called once they are committed.
        Telling the lane of answers raises NothingParsed where the model writes nothing that can be used.
        """
        asked: dict[Generate, int] = {}
        about: list[tuple[list[str], str]] = []
        answers: dict[int, tuple[str, Completion]] = {}
        next_, before = 0, 0  # the list whose lines come next, and how many were kept before the round

        def begin() -> None:
            nonlocal next_, before
            asked.clear()
            about.clear()
            next_, before, tally.done = 0, self.distinct, self.distinct
            if self.distinct < wanted and self.considered < at_most:
                for number in range(self._work.spec.instructions.round):
                    request, seed_ids, opening = self._request(self._round, number)
                    asked[request] = number
                    about.append((seed_ids, opening))
                lane.put(list(asked))

        def told(batch: Sequence[Answered]) -> None:
            nonlocal next_
            for key, completion in batch:
                assert isinstance(completion, Completion)
                answers[asked[completion.request]] = key, completion
            if next_ not in answers:
                return
            rows: list[dict[str, Any]] = []
            while next_ in answers:
                rows += self._consider(*answers.pop(next_), *about[next_])
                next_ += 1
            self._work.store.append({"instructions": rows})
            tally.done, tally.planned = self.distinct, max(wanted, self.distinct)
            tally.tell()
            if next_ == len(asked):
                self._end_round(self.distinct > before)
                begin()
            then()

        lane = Lane(tally, lambda requests: requests, told, size=self._work.spec.instructions.round)
        begin()
        return lane

    def _end_round(self, fruitful: bool) -> None:
        self._round += 1
        self._barren = 0 if fruitful else self._barren + 1
        if self._barren == BARREN_ROUNDS:
            lines = self._work.spec.instructions.round * BARREN_ROUNDS
            raise NothingParsed(
                f"{lines} requests in a row gave not one new instruction ({self.considered} lines considered)",
                "Look at the completions (`cai samples`, or the Samples pane): the model may be broken, or "
                "instructions.temperature too low. Everything written so far is kept.",
            )

    def _request(self, round_: int, number: int) -> tuple[Generate, list[str], str]:
        """A list prompt whose examples favour topics and openings that are rare among what was kept."""
        work, spec = self._work, self._work.spec.instructions
        rng = random.Random(derived_seed(work.seed, PHASE, round_, number))
        pool = list(self._seeds)
        weights = [self._rarity(row) if spec.steer else 1.0 for row in pool]
        chosen = []
        for _ in range(min(spec.examples, len(pool))):
            index = rng.choices(range(len(pool)), weights)[0]
            chosen.append(pool.pop(index))
            weights.pop(index)
        opening = ""
        if spec.steer and number % 2:
            # Every second list is opened with a word that the seeds use and the kept instructions rarely do.
            openings = sorted({_opening(row["text"], lower=False) for row in self._seeds})
            rare = sorted(openings, key=lambda word: (self._openings[word.lower()], word))[: max(4, len(openings) // 3)]
            opening = rng.choice(rare)
        prompt = prompts.instruction_list([row["text"] for row in chosen], opening, spec.kind)
        seed = derived_seed(work.seed, PHASE, round_, number, "decoding")
        return Generate(prompt.text, self._decoding, seed, prompt.shared), [row["id"] for row in chosen], opening

    def _rarity(self, row: dict[str, Any]) -> float:
        return 1.0 / math.sqrt((1 + self._topics[row["topic"]]) * (1 + self._openings[_opening(row["text"])]))

    def _consider(self, key: str, completion: Completion, seed_ids: list[str], opening: str) -> list[dict[str, Any]]:
        work, spec = self._work, self._work.spec.instructions
        cut_off = completion.stop_reason == "length"
        rows = []
        for line, text, regular in prompts.parse_list(completion.text, opening, spec.examples + 1, cut_off):
            instruction_id = f"i-{short_hash(key, line)}"
            status, _ = instruction_status(text, regular, spec)
            near = self._known.nearest(text) if status == "distinct" else None
            if near and near.similarity >= spec.duplicate_at:
                status = "duplicate"
            row: dict[str, Any] = {
                "run_id": work.run_id,
                "instruction_id": instruction_id,
                "ordinal": self.considered,
                "request_id": key,
                "line": line,
                "seed_ids": seed_ids,
                "text": text,
                "opening": _opening(text),
                "topic": self._topic.of(text),
                "status": status,
                "duplicate_of": near.key if near and status == "duplicate" else None,
                "similarity": near.similarity if near else None,
                "cluster_id": None,
                "split": None,
            }
            if status == "distinct":
                cluster = instruction_id
                if near and near.similarity >= spec.cluster_at:
                    cluster = self._clusters[near.key]
                row["cluster_id"] = self._clusters[instruction_id] = cluster
                row["split"] = self._split(cluster)
                self._known.add(instruction_id, text)
                self._topics[row["topic"]] += 1
                self._openings[row["opening"]] += 1
                self._places.append(self.considered)
            self.considered += 1
            rows.append(row)
        return rows

    def _split(self, cluster: str) -> str:
        """Train, validation or test by a hash of the cluster, so that near-duplicates never sit on two sides."""
        digest = hashlib.sha256(f"{self._work.seed}\x1f{cluster}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        splits = self._work.spec.splits
        if place < splits.test:
            return "test"
        return "validation" if place < splits.test + splits.validation else "train"


def _opening(text: str, lower: bool = True) -> str:
    found = words(text)
    if not found:
        return ""
    return found[0] if lower else text.split()[0].strip(",.:;'\"")
