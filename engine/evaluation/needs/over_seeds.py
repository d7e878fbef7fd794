"""What a run and its repeats with other seeds say together: comparisons over seeds, as rows of `evaluation_seeds`.

No look is spent on them and none of them is a test: an interval over seeds can only take a claim away, so that the
error of the registered tests stays what it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from engine.evaluation import ALL, REFERENCE
from engine.evaluation.analysis import Panel, panels
from engine.evaluation.plan import answers_of
from engine.models import adapters
from engine.models.requests import adapter_fingerprint
from engine.stats.seeds import METHOD, over_seeds
from store.db import Store
from store.names import REPEAT, REPEAT_OF, TRAINING_PHASES
from store.read import Reader

Row = dict[str, Any]


def first_of(run: Mapping[str, Any]) -> str:
    """The run that a run repeats; of others their own id."""
    return str(run["manifest"].get(REPEAT_OF) or run["run_id"])


def repeats_of(reader: Reader, run_id: str) -> dict[int, str]:
    """The runs that repeat a run with other seeds, by their numbers, of one number the newest."""
    rows = reader.query(
        f"SELECT run_id, (manifest->>'$.{REPEAT}')::INTEGER AS number FROM runs "
        f"WHERE manifest->>'$.{REPEAT_OF}' = ? ORDER BY number, created_at",
        [run_id],
    )
    return {row["number"]: row["run_id"] for row in rows}


def renew(store: Store, reader: Reader, run: Mapping[str, Any], items_sha256: str, now: datetime) -> None:
    """Compute the comparisons over seeds anew for the run that this one repeats, or for itself."""
    first = first_of(run)
    rows = seeds_rows(reader, [first, *repeats_of(reader, first).values()], items_sha256, now)
    store.renew(first, {"evaluation_seeds": rows})


def training_of(reader: Reader, run_id: str, kind: str) -> Row | None:
    """A run's newest finished training of a kind: {settings, data_sha256, adapter_sha256, method, planned_steps}."""
    adapter = adapters.of_run(reader, run_id, kind)
    if adapter is None:
        return None
    sql = (
        "SELECT settings, data_sha256, adapter_sha256, method, planned_steps FROM trainings "
        "WHERE run_id = ? AND training_id = ?"
    )
    row = reader.query(sql, [run_id, adapter.training_id])[0]
    return {**row, "settings": json.loads(row["settings"])}


def alike(first: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether settings are those of the first training; what only a newer version of the program has doesn't count."""
    wanted = [(part, name, value) for part, of in first["settings"].items() for name, value in of.items()]
    return all((settings.get(part) or {}).get(name) == value for part, name, value in wanted)


def repeats_training(reader: Reader, first_id: str, run_id: str) -> bool:
    """Whether each training that both runs have learned from the same examples by the same settings."""
    for kind in TRAINING_PHASES:
        first, other = training_of(reader, first_id, kind), training_of(reader, run_id, kind)
        if first is None or other is None:
            continue
        if other["data_sha256"] != first["data_sha256"] or not alike(first, other["settings"]):
            return False
    return True


def seeds_rows(reader: Reader, run_ids: Sequence[str], items_sha256: str, now: datetime) -> list[Row]:
    """The first run's comparisons over all its test items, each over the runs that have it too; none of one alone.

    Of a repeat whose scorer failed its audit there are no results, so it has no part in them; nor has one whose answers
    were verified by other code, decoded otherwise or given by an adapter that was replaced since, or whose newest
    trainings had other settings or examples, or with more undecided answers than a claim may have. Items count that are
    decided under both conditions in every run.
    """
    unread = _unread(reader, run_ids)
    compared: dict[str, set[tuple[str, str, str]]] = {}
    for row in reader.query(
        "SELECT run_id, capability, before, after FROM evaluation_results WHERE item_type = ? "
        "AND run_id IN (SELECT unnest(?::VARCHAR[]))",
        [ALL, list(run_ids)],
    ):
        if (row["run_id"], row["capability"]) not in unread:
            compared.setdefault(row["run_id"], set()).add((row["capability"], row["before"], row["after"]))
    with_results = [name for name in run_ids if name in compared]
    if run_ids[0] not in compared or len(with_results) < 2:
        return []
    answers = {
        name: answers_of(reader, name, items_sha256)
        for name in with_results
        if repeats_training(reader, run_ids[0], name)
    }
    answers = {name: of for name, of in answers.items() if _by_newest(reader, name, of)}
    if run_ids[0] not in answers:
        return []
    ways = {name: {one["decoding"] for one in of if one["condition"] != REFERENCE} for name, of in answers.items()}
    found = {
        name: {panel.capability: panel for panel in panels(of)}
        for name, of in answers.items()
        if ways[name] == ways[run_ids[0]]
    }
    rows = []
    for capability, before, after in sorted(compared[run_ids[0]]):
        own = found[run_ids[0]].get(capability)
        if own is None:
            continue
        same = {
            name: of[capability]
            for name, of in found.items()
            if (capability, before, after) in compared[name]
            and capability in of
            and of[capability].source == own.source
        }
        if len(same) > 1 and (over := _over(same, own, before, after)) is not None:
            place = {"run_id": run_ids[0], "capability": capability, "before": before, "after": after}
            rows.append(place | over | {"runs": list(same), "method": METHOD, "at": now})
    return rows


def _unread(reader: Reader, run_ids: Sequence[str]) -> set[tuple[str, str]]:
    """Runs and capabilities of which rules left so many answers undecided that how they come out has no bound."""
    rows = reader.query(
        "SELECT DISTINCT run_id, capability FROM scorer_audits WHERE part = 'undecided' AND NOT passed "
        "AND run_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(run_ids)],
    )
    return {(row["run_id"], row["capability"]) for row in rows}


def _by_newest(reader: Reader, run_id: str, answers: Sequence[Row]) -> bool:
    """Whether the answers of trained conditions are of the run's newest adapters."""
    run = reader.run(run_id)
    base = (run["manifest"].get("model") or {}).get("base_fingerprint") or run["fingerprint"]
    gave = {(one["condition"], one["fingerprint"]) for one in answers if one["condition"] in TRAINING_PHASES}
    newest = {name: training_of(reader, run_id, name) for name, _ in gave}
    return all(
        (of := newest[name]) is not None and adapter_fingerprint(base, of["adapter_sha256"]) == fingerprint
        for name, fingerprint in gave
    )


def _over(of: Mapping[str, Panel], own: Panel, before: str, after: str) -> Row | None:
    """None where fewer than two templates are left."""
    differences = np.full((len(of), len(own.items)), np.nan)
    for place, panel in enumerate(of.values()):
        at = {item: number for number, item in enumerate(own.items)}
        a, b = panel.right[after], panel.right[before]
        for number, item in enumerate(panel.items):
            if item in at and a[number] >= 0 and b[number] >= 0:
                differences[place, at[item]] = float(a[number]) - float(b[number])
    both = ~np.isnan(differences).any(axis=0)
    member = own.template_of[both]
    if len(np.unique(member)) < 2:
        return None
    found = over_seeds(differences[:, both], member, own.type_of_template)
    return {
        "seeds": found.seeds, "n": found.n, "clusters": found.clusters, "differences": list(found.differences),
        "difference": found.difference, "se": found.se, "df": found.df, "lo": found.lo, "hi": found.hi,
        "se_templates": found.se_clusters, "between_sd": found.between, "between_lo": found.between_lo,
        "between_hi": found.between_hi,
    }  # fmt: skip
