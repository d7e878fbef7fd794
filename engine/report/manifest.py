"""Where the run comes from, and the commands that make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from engine.report.document import Document, col
from store.names import CONTROL_TRAININGS, SUPERVISED, TRAINING_PHASES


def manifest(doc: Document) -> None:
    """Code, packages, machine, seeds, hashes, and how to reproduce."""
    doc.section("Manifest")
    doc.listed(
        "Code, machine and model",
        """
        WITH r AS (SELECT * FROM runs WHERE run_id = $1)
        SELECT what, value FROM (
            SELECT 1 AS place, 'git commit' AS what, manifest->>'$.git.commit' AS value FROM r
            UNION ALL SELECT 2, 'changed since that commit', manifest->>'$.git.modified' FROM r
            UNION ALL SELECT 3, 'hash of the code', manifest->>'$.code_sha256' FROM r
            UNION ALL SELECT 4, 'Python', manifest->>'$.python' FROM r
            UNION ALL SELECT 5, 'system', manifest->>'$.machine.system' FROM r
            UNION ALL SELECT 6, 'processor', manifest->>'$.machine.processor' FROM r
            UNION ALL SELECT 7, 'cores', manifest->>'$.machine.cores' FROM r
            UNION ALL SELECT 8, 'memory, GB', manifest->>'$.machine.memory_gb' FROM r
            UNION ALL SELECT 9, 'model ' || replace(j.key, '_', ' '), j.value->>'$' FROM r,
                json_each(r.manifest, '$.model') j WHERE json_type(j.value) NOT IN ('OBJECT', 'ARRAY')
            UNION ALL SELECT 9, 'self-check of the model', manifest->>'$.model.self_check.told' FROM r
            UNION ALL SELECT 10, 'licence of the model', manifest->>'$.model_license' FROM r
            UNION ALL SELECT 11, 'seed of the run', seed::VARCHAR FROM r
            UNION ALL SELECT 12, 'SHA-256 of the spec', spec_sha256 FROM r
            UNION ALL SELECT 13, 'fingerprint of the weights', fingerprint FROM r
            UNION ALL SELECT 14, 'SHA-256 of the constitution', manifest->>'$.constitution.sha256' FROM r
            UNION ALL SELECT 15, 'seed of training ' || training_id, facts->>'$.seed' FROM trainings WHERE run_id = $1
            UNION ALL SELECT 16, 'SHA-256 of adapter ' || training_id, adapter_sha256 FROM trainings WHERE run_id = $1
            UNION ALL SELECT DISTINCT 17, 'SHA-256 of the items', items_sha256 FROM evaluation_answers WHERE run_id = $1
            UNION ALL SELECT DISTINCT 18, 'SHA-256 of the scorer', scorer_sha256 FROM evaluation_answers
                WHERE run_id = $1
            UNION ALL SELECT 19, 'SHA-256 of registration ' || registration_id, sha256 FROM registrations
                WHERE run_id = $1
        ) WHERE value IS NOT NULL ORDER BY place, what, value
        """,
        "Code, machine, model and hashes.",
        [col("what", "text"), col("value", "code")],
    )
    doc.listed(
        "Packages",
        "SELECT j.key AS package, j.value->>'$' AS version FROM runs, json_each(runs.manifest, '$.packages') j "
        "WHERE run_id = $1 ORDER BY 1",
        "Packages.",
        [col("package", "code"), col("version", "code")],
        "No packages were recorded in this run.",
    )
    doc.part("To make it again")
    again = doc.queries.ask(
        "What the commands are made of",
        f"""
        SELECT spec, model, seed, pilot, target,
               (SELECT list([j.key, CASE WHEN json_type(j.value) = 'ARRAY' THEN j.value->>'$[1]'
                             ELSE j.value->>'$' END] ORDER BY j.key) FROM json_each(r.overrides) j) AS changed,
               (SELECT count(*) FROM trainings WHERE run_id = $1 AND method = 'sft') AS sft,
               (SELECT count(*) FROM trainings WHERE run_id = $1 AND method NOT IN {SUPERVISED}) AS dpo,
               (SELECT list(DISTINCT method ORDER BY method) FROM trainings WHERE run_id = $1
                AND method IN {CONTROL_TRAININGS}) AS controls,
               (SELECT count(*) FROM evaluation_answers WHERE run_id = $1) AS answers,
               (SELECT count(*) FROM registrations WHERE run_id = $1) AS registered
        FROM runs r WHERE run_id = $1
        """,
    )
    doc.say("With the code of that commit; the same seeds give the same requests, and how far the answers then agree "
            "is measured above. RUN stands for the id of the run that the first command begins.", again)  # fmt: skip
    doc.text("\n".join(commands(again.row)))


def commands(row: Mapping[str, Any]) -> list[str]:
    """The command lines, from a run's spec, model, seed, size, changed settings, and what was done with it."""
    size = ("--pilot", row["pilot"]) if row["pilot"] == row["target"] else ("--target", row["target"])
    first = ["cai", "run", row["spec"], "--model", row["model"], "--seed", row["seed"], *size]
    for key, value in row["changed"] or ():
        first += ["--set", f"{key}={'null' if value is None else value}"]
    found = [first]
    found += [["cai", "train", kind, "RUN"] for kind in TRAINING_PHASES if row[kind]]
    found += [["cai", "train", kind, "RUN"] for kind in row["controls"] or ()]
    if row["registered"]:
        found.append(["cai", "preregister", "RUN"])
    if row["answers"]:
        found.append(["cai", "evaluate", "RUN"])
    found.append(["cai", "report", "RUN", "--out", "report"])
    return [shlex.join(str(word) for word in words) for words in found]
