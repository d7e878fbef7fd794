"""Does the model use a principle? The same items revised with it, without one, and with one of another category.

Items, seeds, decoding and solved examples are the same in all three conditions; only what is shown of the principle
differs. The solved example of the principle under test is left out, so that "with" is the only place where it appears.
Each revision is compared with its original by the question of the principle under test, both orders. Paired differences
then say what the principle itself did: with against without, and with against irrelevant.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.core.control import Control
from engine.core.errors import SpecError
from engine.critics import Subject
from engine.critics.audit import Calibrated, calibrate, judge
from engine.phases.revisions import Asked, eligible, flags_of_revision, preferred, write
from engine.phases.work import Work, begin_session, loaded_work
from engine.quality.revision_rules import BLOCKING
from engine.spec import prompts
from engine.spec.constitution import CONDITIONS, Principle
from engine.spec.provenance import derived_seed, new_session_id
from engine.spec.stage import settings_of
from engine.stats.effects import Paired, paired_means, paired_shares
from engine.stats.paired import holm
from store.db import Store
from store.salvage.clock import utc_now

SHOWN = {"with": "with the principle", "without": "without one", "irrelevant": "with one of another category"}
# What is shown where no principle is: as general as a request can be, in the length of a principle.
GENERIC = {
    "text": "A response should be as good as it can be.",
    "critique_request": "Name the part of the response that could be better, or say in one sentence that it is good.",
    "revision_request": "Rewrite the response so that it is better and still answers the instruction.",
}

Row = dict[str, Any]


def ablate(
    work: Work,
    critics: Sequence[Calibrated],
    principle_id: str,
    items: int,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Revise `items` samples under the three conditions and keep what came of it; returns the results' rows.

    Samples are drawn by the run's seed from those that revisions are made of. Raises SpecError for an unknown principle
    and where there are no such samples.
    """
    spec, constitution = work.spec.revisions, work.constitution
    if spec is None or constitution is None:
        raise SpecError("this run makes no revisions", "Ablate a run of a spec that has the section `revisions`.")
    principle = constitution.by_id.get(principle_id)
    if principle is None:
        known = ", ".join(constitution.by_id)
        raise SpecError(f"no principle {principle_id!r}", f"There are: {known}. Nothing was generated.")
    samples = eligible(work)
    if not samples:
        raise SpecError("there is no accepted sample of the training split to revise", "Let the run go on first.")
    random.Random(derived_seed(work.seed, "ablation", principle_id)).shuffle(samples)
    samples = sorted(samples[:items], key=lambda sample: sample["ordinal"])
    rows: list[Row] = []
    for number, condition in enumerate(CONDITIONS, 1):
        tell(f"{principle_id}: {len(samples)} items {SHOWN[condition]} ({number} of {len(CONDITIONS)})")
        rows += _one(work, critics, principle, condition, samples)
    work.store.put({"ablations": rows})
    results = _results(work.run_id, principle_id, rows)
    work.store.put({"ablation_results": results})
    return results


def run_ablation(
    path: Path,
    run_id: str,
    principle_ids: Sequence[str],
    items: int,
    control: Control,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Ablate principles of a stored run with its own model; returns the results' rows.

    What was computed before is found and not computed again, so an ablation that was stopped goes on. Raises CaiError,
    Interrupted where `control` was stopped.
    """
    with Store.open(path) as store, store.reader() as reader:
        run = reader.run(run_id)
        spec, session_id = settings_of(run), new_session_id()
        begin_session(store, run_id, session_id)
        found: list[Row] = []
        with loaded_work(
            store, reader, run, spec, session_id=session_id, control=control, emit=lambda event: None
        ) as work:
            tell("measuring the pair critics")
            critics = list(calibrate(work.answers, work.spec.critics, "pair"))
            for name in principle_ids:
                found += ablate(work, critics, name, items, tell)
        return found


def _one(
    work: Work, critics: Sequence[Calibrated], principle: Principle, condition: str, samples: Sequence[Row]
) -> list[Row]:
    constitution, spec = work.constitution, work.spec.revisions
    assert constitution is not None and spec is not None
    asked: list[Asked] = []
    used: dict[str, str | None] = {}
    for sample in samples:
        name = sample["sample_id"]
        shown: Mapping[str, str] = GENERIC
        used[name] = None
        if condition != "without":
            one = principle if condition == "with" else constitution.irrelevant_to(principle.id, work.seed, name)
            shown, used[name] = asdict(one), one.id
        # The key holds no condition: the same seed in all three, so that only what is shown differs.
        asked.append(Asked(f"{name}\x1fablation", sample["instruction"], sample["response"], shown))
    by_key = {one.key: sample for one, sample in zip(asked, samples, strict=True)}
    rows: dict[str, Row] = {}
    pending: list[Subject] = []
    for found in write(work, spec, asked, but=principle.id):
        sample = by_key[found.asked.key]
        kept, _ = prompts.clean_response(found.completion.text, sample["instruction"])
        flags = flags_of_revision(
            work, found.asked, found.completion.text, kept, found.completion.stop_reason, but=principle.id
        )
        name = sample["sample_id"]
        rows[name] = {
            "run_id": work.run_id,
            "principle_id": principle.id,
            "condition": condition,
            "sample_id": name,
            "used_id": used[name],
            "critique_request_id": found.critique_request_id,
            "critique": found.critique,
            "request_id": found.request_id,
            "response": kept,
            "stop_reason": found.completion.stop_reason,
            "n_tokens": len(found.completion.token_ids),
            "flags": flags,
            "margin_nats": 0.0,  # of a revision that changed nothing or is empty
            "useful": False,
            "parts": [],
        }
        if not {"unchanged", "empty"} & set(flags):
            ended, rival = found.completion.stop_reason, sample["response"]
            pending.append(Subject(name, sample["instruction"], kept, ended, rival, principle.comparison))
    for judgements in judge(work.answers, critics, pending):
        row = rows[judgements[0].item.key]
        prefers, _ = preferred(judgements, spec.keep_margin_nats)
        first = judgements[0]
        row |= {"margin_nats": first.margin_nats, "parts": first.parts}
        row["useful"] = prefers and not BLOCKING & set(row["flags"])
    return [rows[sample["sample_id"]] for sample in samples]


def _results(run_id: str, principle_id: str, rows: Sequence[Row]) -> list[Row]:
    by: dict[str, dict[str, Row]] = {condition: {} for condition in CONDITIONS}
    for row in rows:
        by[row["condition"]][row["sample_id"]] = row
    names = sorted(by["with"])
    now = utc_now()
    found = []
    for against in CONDITIONS[1:]:
        for measure, test in (("margin_nats", paired_means), ("useful", paired_shares)):
            a = [float(by["with"][name][measure]) for name in names]
            b = [float(by[against][name][measure]) for name in names]
            told: Paired = test(a, b)
            evidence = hashlib.sha256(json.dumps([names, a, b]).encode()).hexdigest()
            found.append(
                {
                    "run_id": run_id,
                    "principle_id": principle_id,
                    "against": against,
                    "measure": measure,
                    **asdict(told),
                    "p_corrected": None,
                    "evidence_sha256": evidence,
                    "at": now,
                }
            )
    tested = [row for row in found if row["p"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]).adjusted, strict=True):
        row["p_corrected"] = p
    return found
