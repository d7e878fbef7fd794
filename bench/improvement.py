"""Does data that the critic chose improve the base model? `python bench/improvement.py STEP`, step after step.

    make                    the runs: for each seed one by rules alone and one by the probe, in one store
    train [SEED [CONDITION]]  SFT, and for critic_dpo DPO after it, on the same number of examples
    evaluate                the tuned models are asked the held-out items
    answers                 the base and every tuned model answer instructions that no run saw: blind.jsonl, key.json
    read FILE               takes lines {"id": …, "grade": "good" | "pass" | "bad"} of whoever read blind.jsonl
    report                  paired differences over all seeds and by seed: report.json and report.md

Conditions: `rules` (SFT on the first samples that the rules accepted), `critic` (SFT on the first that the probe
accepted) and `critic_dpo` (that adapter, then DPO on the best of three against the others, as the probe ranks them).
Both runs of a seed write the same instructions and the same responses, since their seeds say which; they differ in what
is accepted. Everything lies in one folder. A step that was killed goes on where it was, and may be repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import engine.evaluation.conditions
import engine.evaluation.plan
import engine.phases.evaluation
import engine.run.runner
import engine.training.plan
from bench.common import MODEL
from bench.improving.blind import blinded, grades_of
from bench.improving.conditions import CONDITIONS, BenchFolder, BenchSettings, only_first
from bench.improving.report import report
from engine.core import events
from engine.core.control import Control
from engine.core.data import DATA, read_data
from engine.evaluation.gap import GATE
from engine.models import adapters, registry
from engine.models.answers import Answers
from engine.models.requests import Decoding, Generate
from engine.phases.work import begin_session
from engine.run.orders import Evaluate, Order, Train
from engine.run.same import engine_for
from engine.spec import prompts
from engine.spec.provenance import derived_seed, new_session_id
from engine.training.examples import near
from store.db import Store
from store.errors import CaiError
from store.read import Reader

SPARE = 0.05  # accepted beyond the examples: some may be as good as held-out items and are left out of training
UNSEEN_SEED = 977
UNSEEN_PILOT = 3  # times the instructions that are to be answered: half are accepted, and some were seen
ANSWER_TOKENS = 96


# -- driving the engine ----------------------------------------------------------------------------------------------


def carry_out(order: Order, *, ends: Sequence[str] = ("done",)) -> str:
    """Do an order to its end; returns the run's id. Ends the program where it ended otherwise."""
    opened = engine_for(order, _tell)
    try:
        opened.start()
        opened.join()
    finally:
        opened.close()
    outcome = opened.outcome
    if outcome is None or outcome.state not in ends:
        state = "did not start" if outcome is None else f"ended as {outcome.state}: {outcome.reason}"
        raise SystemExit(f"run {opened.run_id} {state}. What was done is kept; the same step goes on from there.")
    return opened.run_id


BEGAN = time.monotonic()
TOLD = (events.PhaseFinished, events.Noted, events.GateDecided, events.TrainingFinished, events.RunFinished)


def _tell(event: events.Event) -> None:
    if isinstance(event, TOLD):
        said = ", ".join(f"{value}" for value in event.payload().values() if value not in ("", None, ()))
        print(f"{time.monotonic() - BEGAN:7.1f} s  {event.run_id}  {event.kind}: {said}", file=sys.stderr)


# -- steps -----------------------------------------------------------------------------------------------------------


def make(place: BenchFolder, wanted: BenchSettings) -> None:
    """One run by rules and one by the critic for each seed, and one of instructions that none of them is to see."""
    place.folder.mkdir(parents=True, exist_ok=True)
    if place.file("settings.json").exists() and place.settings != wanted:
        raise SystemExit(
            f"{place.folder} was made with other settings: {asdict(place.settings)}. It is kept as it is. "
            "Ask for the same, or name another --folder."
        )
    place.write("settings.json", asdict(wanted))
    # A revision would stand in its sample's place, and the best of three is all that is asked about.
    engine.run.runner.revise = lambda work, critics: (0, 0)  # type: ignore[attr-defined]
    target = wanted.examples + max(2, math.ceil(SPARE * wanted.examples))
    runs: dict[str, str] = {}
    for seed in wanted.seeds:
        runs[f"{seed} critic"] = carry_out(wanted.new_run(place.store, seed, True, None, target))
        runs[f"{seed} rules"] = carry_out(wanted.new_run(place.store, seed, False, "gate", target))
    last, pilot = "instruction_judgements", UNSEEN_PILOT * wanted.instructions
    runs["unseen"] = carry_out(wanted.new_run(place.store, UNSEEN_SEED, True, last, pilot))
    with Store.open(place.store, read_only=True) as store, store.reader() as reader:
        for name, run_id in runs.items():
            n = len(only_first(wanted.examples)(reader, reader.run(run_id), "sft", 0.0).train)
            if name != "unseen" and n < wanted.examples:
                raise SystemExit(
                    f"run {run_id} ({name}) has {n} examples of {wanted.examples}: the others are left out as too near "
                    "to held-out items. The runs are kept. Make fewer --examples in another --folder."
                )
    place.write("runs.json", runs)


def train(place: BenchFolder, seed: int | None, condition: str | None, changed: Mapping[str, str]) -> None:
    """Train one condition of one seed, or all that are named by neither; what is trained already is found."""
    settings, runs = place.settings, place.runs
    engine.training.plan.examples = only_first(settings.examples)  # type: ignore[attr-defined, assignment]
    for each in settings.seeds if seed is None else [seed]:
        for name in CONDITIONS if condition is None else [condition]:
            arm, kinds, _ = CONDITIONS[name]
            if f"{each} {arm}" not in runs:
                raise SystemExit(f"no run has the seed {each}: there are {settings.seeds}. Nothing was trained.")
            run_id = runs[f"{each} {arm}"]
            if not _base_was_asked(place, run_id):  # before which the engine trains nothing
                _ask(place, run_id, "dev")
            carry_out(Train(place.store, run_id, kinds, overrides=dict(changed)))


def _ask(place: BenchFolder, run_id: str, split: str) -> None:
    """Ask a run's models the held-out items of a split, the base in the form that the tuned ones are asked in alone.

    Where the scorer's audit fails, the report says so beside the figures.
    """
    engine.evaluation.plan.SPLITS = (split,)  # type: ignore[attr-defined, assignment]
    engine.evaluation.conditions.BASE_CONDITIONS = ("base_formatted",)  # type: ignore[attr-defined, assignment]
    engine.phases.evaluation.REPEATED_AT_LEAST = 0  # none is asked again alone: much time, and not the question
    carry_out(Evaluate(place.store, run_id), ends=("done", "gate_failed"))


def _base_was_asked(place: BenchFolder, run_id: str) -> bool:
    with Store.open(place.store, read_only=True) as store, store.reader() as reader:
        return any(row["gate"] == GATE for row in reader.gates(run_id))


def evaluate(place: BenchFolder) -> None:
    """Ask every run's adapters the held-out items; what was answered is found."""
    for name, run_id in place.runs.items():
        if name != "unseen":
            _ask(place, run_id, "test")


def answers(place: BenchFolder) -> None:
    """Have the base and every tuned model answer the same unseen instructions, and write them without their names."""
    settings, runs = place.settings, place.runs
    with Store.open(place.store, memory="256MB") as store, store.reader() as reader:
        tuned: list[tuple[int | None, str, adapters.Adapter | None]] = [(None, "base", None)]
        for seed in settings.seeds:
            for name, (arm, _, asked_as) in CONDITIONS.items():
                adapter = adapters.of_run(reader, runs[f"{seed} {arm}"], asked_as)
                if adapter is None:
                    raise SystemExit(f"{name} of seed {seed} is not trained: do the step `train`. Nothing was asked.")
                adapters.require_whole(adapter)
                tuned.append((seed, name, adapter))
        asked = unseen(reader, runs, settings)
        session_id = new_session_id()
        begin_session(store, runs["unseen"], session_id)
        model = registry.load(MODEL)
        try:
            found = Answers(model, store, session_id, Control())
            rows = []
            for of, name, adapter in tuned:
                model.use(adapter.folder if adapter else None, adapter.sha256 if adapter else "")
                given = _given(found, asked)
                rows += [{"seed": of, "condition": name, **row} for row in given]
                print(f"{time.monotonic() - BEGAN:7.1f} s  {name} {of or ''}: {len(given)} answers", file=sys.stderr)
        finally:
            model.close()
    shown, key = blinded(rows)
    place.write("key.json", key)
    place.write_text("blind.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in shown))
    print(f"{len(rows)} answers, {len(shown)} of them to be read: {place.file('blind.jsonl')}", file=sys.stderr)


def unseen(reader: Reader, runs: Mapping[str, str], settings: BenchSettings) -> dict[str, str]:
    """Accepted instructions by id, in their order, that no other run wrote and no shipped file holds, even nearly."""
    run_id = runs["unseen"]
    rows = reader.query(
        "SELECT i.instruction_id, i.text FROM instructions i JOIN verdicts v ON v.run_id = i.run_id "
        "AND v.subject_kind = 'instruction' AND v.subject_id = i.instruction_id "
        "WHERE i.run_id = ? AND v.verdict = 'accepted' ORDER BY i.ordinal",
        [run_id],
    )
    others = [one for one in runs.values() if one != run_id]
    sql = "SELECT text FROM instructions WHERE run_id IN (SELECT unnest(?))"
    known = [row["text"] for row in reader.query(sql, [others])]
    found = {row["instruction_id"]: row["text"] for row in rows}
    at = float(reader.run(run_id)["settings"]["instructions"]["duplicate_at"])
    seen = set(near(found, [*known, *_shipped()], at))
    fresh = [name for name in found if name not in seen]
    if len(fresh) < settings.instructions:
        raise SystemExit(
            f"{len(fresh)} instructions of {len(found)} are unlike all that was seen, {settings.instructions} are "
            "wanted. Nothing was asked. Make another folder with fewer --instructions."
        )
    return {name: found[name] for name in fresh[: settings.instructions]}


def _shipped() -> Iterator[str]:
    """Instructions that ship with the program: seeds, examples, and what critics are fitted on and audited by."""
    for path in sorted(DATA.rglob("*.jsonl")):
        for row in read_data(path.stem):
            text = row.get("instruction", row.get("text"))
            if isinstance(text, str):
                yield text


def _given(found: Answers, asked: Mapping[str, str]) -> list[dict[str, str]]:
    """Greedy answers in the form of training and evaluation, one an instruction."""
    decoding = Decoding(ANSWER_TOKENS, stop=prompts.RESPONSE_STOPS)
    requests = {
        Generate(prompts.response([], text).text, decoding, derived_seed(0, "improvement", name)): name
        for name, text in asked.items()
    }
    texts = {}
    for _, completion in found.complete(requests):
        name = requests[completion.request]
        texts[name] = prompts.clean_response(completion.text, asked[name])[0]
    return [{"instruction_id": name, "instruction": text, "answer": texts[name]} for name, text in asked.items()]


def read(place: BenchFolder, file: Path) -> None:
    """Take up grades; a grade of an answer that was graded before takes the place of the earlier one."""
    key = place.read("key.json", "answers")
    before = place.read("grades.json", "read") if place.file("grades.json").exists() else {}
    try:
        found = grades_of(file.read_text().splitlines(), key)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SystemExit(f"{file}: {error}. No grade was taken up.") from None
    changed = sum(before.get(name, grade) != grade for name, grade in found.items())
    merged = before | found
    place.write("grades.json", merged)
    left = len(key.keys() - merged.keys())
    print(f"{len(found)} grades taken up, {changed} changed; {left} of {len(key)} answers are left to read.")


def _setting(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "improvement")
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("make")
    step.add_argument("--examples", type=int, default=100)
    step.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    step.add_argument("--items-per-type", type=int, default=14)
    step.add_argument("--instructions", type=int, default=100)
    step.add_argument("--sample-at", type=float, default=0.22, help="probability of being good from which is accepted")
    step.add_argument("--set", type=_setting, action="append", default=[], metavar="KEY=VALUE", dest="changed")
    step = steps.add_parser("train")
    step.add_argument("seed", type=int, nargs="?")
    step.add_argument("condition", choices=[*CONDITIONS], nargs="?")
    step.add_argument("--set", type=_setting, action="append", default=[], metavar="KEY=VALUE", dest="changed")
    steps.add_parser("evaluate")
    steps.add_parser("answers")
    steps.add_parser("read").add_argument("file", type=Path)
    steps.add_parser("report")
    given = parser.parse_args()
    place = BenchFolder(given.folder.absolute())
    try:
        match given.step:
            case "make":
                make(place, BenchSettings(given.examples, given.seeds, given.items_per_type, given.instructions,
                                          given.sample_at, dict(given.changed)))  # fmt: skip
            case "train":
                train(place, given.seed, given.condition, dict(given.changed))
            case "evaluate":
                evaluate(place)
            case "answers":
                answers(place)
            case "read":
                read(place, given.file)
            case "report":
                report(place)
    except CaiError as error:
        raise SystemExit(f"{error.title}. {error.hint}".strip()) from None


if __name__ == "__main__":
    main()
