"""A pilot against the same work written with distilabel: `make bench-distilabel`.

A pilot of the small spec runs here; then every call that it made to its model becomes rows of distilabel pipelines, in
distilabel's own environment (`distilabel_work.py`), with the same model, prompts, sampling and counts, in bfloat16, its
default for this model and faster here than float32. Each group of like requests runs on a sample of it, and its time
is scaled to the whole group. The same requests lead to the same accepted examples, so `ratio` is that of accepted
examples a minute; `ratio_sampling` is the same without the checks before the first sampled text (guard and audit of
critics), which reward a shared prefix most.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import MODEL, ROOT, Call, pilot_of, report

from engine.models.files.embedded import ensure

PYTHON = ROOT / ".venv-distilabel" / "bin" / "python"
PILOT = 4
BATCH = 8  # of model.generate 8 and 16 are about as fast here (generation.py)
SAMPLE = 16  # rows of a group


def groups(calls: list[Call], checks: bool, encode: Any) -> list[dict[str, Any]]:
    """Like requests together."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for call in calls:
        for request in call.requests:
            alike = request.decoding if call.kind == "generate" else None
            found.setdefault((call.kind, alike), []).append(request)
    out = []
    for number, ((kind, decoding), requests) in enumerate(found.items()):
        few = requests[:: -(-len(requests) // SAMPLE)]
        name = f"{'checks' if checks else 'pilot'}-{number}"
        group = {"name": name, "kind": kind, "checks": checks, "of": len(requests)}
        if decoding is not None:
            drawn = decoding.temperature > 0
            chosen = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
            group |= {
                "stop": list(decoding.stop), "rows": [{"instruction": one.prompt} for one in few],
                "decoding": {"max_new_tokens": decoding.max_tokens, "repetition_penalty": 1.0, "do_sample": drawn}
                            | (chosen if drawn else {}),
            }  # fmt: skip
        else:
            group["rows"] = [
                {"prompt": one.prompt, "labels": [encode(label)[0] for label in one.labels]} for one in few
            ]
        out.append(group)
    return out


def with_distilabel(work: dict[str, Any]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "work.json"
        file.write_text(json.dumps(work))
        script = Path(__file__).parent / "distilabel_work.py"
        done = subprocess.run([PYTHON, script, file], capture_output=True, text=True, cwd=folder)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or len(lines) != len(work["groups"]):
        raise SystemExit(f"distilabel ended with {done.returncode}: {done.stderr[-2000:]}")
    return [json.loads(line) for line in lines]


def main() -> None:
    if not PYTHON.exists():
        raise SystemExit("distilabel is not installed: make bench-distilabel")
    model, seconds, outcome = pilot_of(int(sys.argv[1]) if sys.argv[1:] else PILOT)
    assert outcome is not None and outcome.state == "done", outcome
    encode = model.inner._text.plain
    first = next(
        at
        for at, call in enumerate(model.calls)
        if call.kind == "generate" and call.requests[0].decoding.temperature > 0
    )
    checks, sampling = model.calls[:first], model.calls[first:]
    work = groups(checks, True, encode) + groups(sampling, False, encode)
    found = with_distilabel({"model": str(ensure(MODEL)), "batch": BATCH, "dtype": "bfloat16", "groups": work})
    assert all(not one["empty"] for one in found), found
    parts = [
        {"kind": group["kind"], "checks": group["checks"], "requests": group["of"], "rows": one["rows"],
         "seconds": round(one["seconds"] * group["of"] / one["rows"], 1)}
        for group, one in zip(work, found, strict=True)
    ]  # fmt: skip
    theirs = {early: sum(part["seconds"] for part in parts if part["checks"] is early) for early in (True, False)}
    before = sum(call.seconds for call in checks)
    total = theirs[True] + theirs[False]
    per_minute = {"ours": outcome.accepted * 60 / seconds, "distilabel": outcome.accepted * 60 / total}
    report(
        benchmark="against_distilabel", model=MODEL, accepted=outcome.accepted, seconds=round(seconds, 1),
        distilabel_seconds=round(total, 1), groups=parts,
        accepted_per_minute={name: round(value, 2) for name, value in per_minute.items()},
        ratio=round(total / seconds, 2), ratio_sampling=round(theirs[False] / (seconds - before), 2),
    )  # fmt: skip


if __name__ == "__main__":
    main()
