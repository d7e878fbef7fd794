"""Where the run comes from, and the commands that make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from engine.report.document import Document, col
from store.names import REPEAT, REPEAT_OF, SUPERVISED


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
        WITH own AS (SELECT manifest->>'$.{REPEAT_OF}' AS first, (manifest->>'$.{REPEAT}')::INTEGER AS number
                     FROM runs WHERE run_id = $1),
        r AS (SELECT * FROM runs WHERE run_id IN ($1, (SELECT first FROM own)) ORDER BY run_id = $1 LIMIT 1)
        SELECT spec, model, seed, pilot, target, run_id != $1 AS repeated, manifest->>'$.git.commit' AS commit,
               (SELECT list([j.key, CASE WHEN json_type(j.value) = 'ARRAY' THEN j.value->>'$[1]'
                             ELSE j.value->>'$' END] ORDER BY j.key) FROM json_each(r.overrides) j) AS changed,
               (SELECT list([what, of] ORDER BY began, place, of) FROM (
                   SELECT min(started_at) AS began, 1 AS place, 'train' AS what,
                          CASE WHEN method IN {SUPERVISED} THEN method ELSE 'dpo' END AS of
                   FROM trainings t WHERE t.run_id = r.run_id GROUP BY of
                   UNION ALL SELECT min("at"), 2, 'preregister', '' FROM registrations g
                   WHERE g.run_id = r.run_id GROUP BY ALL
                   UNION ALL SELECT min("at"), 3, 'evaluate', '' FROM evaluation_answers a
                   WHERE a.run_id = r.run_id GROUP BY condition
               )) AS steps,
               (SELECT list(DISTINCT suite ORDER BY suite) FROM suite_answers a WHERE a.run_id = r.run_id) AS suites,
               greatest((SELECT max(seeds) - 1 FROM evaluation_seeds s WHERE s.run_id = r.run_id),
                        (SELECT number FROM own WHERE r.run_id != $1)) AS seeds
        FROM r
        """,
    )
    code = (
        "the code of commit {commit:code}"
        if again.row["commit"]
        else "code that has the hash above (no commit was recorded)"
    )
    told = [
        f"With {code}: the same seeds give the same requests, and how far the answers then agree is "
        "measured above. RUN stands for the id of the run that the first command begins. The commands stand in the "
        "order in which trainings, the registration and the first answers of each condition came."
    ]
    if again.row["repeated"]:
        told.append("This run is a repeat of that one: REPEAT stands for the id that `cai repeat` tells of it.")
    if again.row["suites"]:
        told.append("A suite that a file describes is named by that file.")
    doc.say(" ".join(told), again)
    doc.text("\n".join(commands(again.row)))


def commands(row: Mapping[str, Any]) -> list[str]:
    """The command lines, from a run's spec, model, seed, size, changed settings, and what was done with it in order."""
    size = ("--pilot", row["pilot"]) if row["pilot"] == row["target"] else ("--target", row["target"])
    first = ["cai", "run", row["spec"], "--model", row["model"], "--seed", row["seed"], *size]
    for key, value in row["changed"] or ():
        first += ["--set", f"{key}={'null' if value is None else value}"]
    found = [first]
    for what, of in row["steps"] or ():
        step = ["cai", what, *([of] if of else []), "RUN"]
        if step != found[-1]:  # conditions that were answered one after the other are one evaluation
            found.append(step)
    if row["suites"]:
        found.append(["cai", "evaluate", "RUN", "--suite", ",".join(row["suites"])])
    if row["seeds"]:
        found.append(["cai", "repeat", "RUN", "--seeds", row["seeds"]])
    found.append(["cai", "report", "REPEAT" if row["repeated"] else "RUN", "--out", "report"])
    return [shlex.join(str(word) for word in words) for words in found]
