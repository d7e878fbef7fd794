"""The tasks of a suite as the harness has them: loaded, looked at before a model is, and asked of a model.

The harness is imported where it is used: it brings a second of imports and a search through 14,000 task files.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.core.errors import EvaluationError, first_line
from engine.core.extras import fit, installed, pins
from engine.evaluation.suites import EXTRA, TASKS

SEED = 1234  # that solved examples are drawn by: the harness's own
ASKABLE = ("multiple_choice", "generate_until")
# Fields of a document that others of its data set share, by which those are alike; the first that is there counts.
ALIKE = ("source_id", "passage_id", "story_id", "passage", "article", "context", "story")
NEEDS_PUNKT = "ifeval"  # what this stands in the name of counts sentences with a file of NLTK

Row = dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """What is asked for under one name: the harness's tasks by theirs, and groups that are told as one figure.

    `pooled` has for each such group its tasks and the metrics that the harness pools over their items.
    """

    name: str
    tasks: Mapping[str, Any]
    pooled: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]

    @property
    def documents(self) -> int:
        return sum(len(task.eval_docs) for task in self.tasks.values())

    def rises(self, task: str, metric: str) -> bool:
        """Whether a higher value of a task's metric is the better one."""
        return bool(self.tasks[task].higher_is_better().get(metric.partition(",")[0], True))

    def facts(self) -> Row:
        """What would be asked, ready for JSON."""
        tasks = [
            {
                "task": name,
                "documents": len(task.eval_docs),
                "shots": _shots(task),
                "version": str(task.VERSION),
                "kind": task.OUTPUT_TYPE,
                "metrics": list(task.higher_is_better()),
            }
            for name, task in self.tasks.items()
        ]
        return {"suite": self.name, "documents": self.documents, "tasks": tasks}


def load(names: Sequence[str]) -> list[Suite]:
    """The suites of these names: of this program, of the harness, or files (.yaml) that describe a task of its kind.

    A file may also describe a group of tasks whose files lie beside it.

    Data sets are read from the machine's cache or fetched. Raises EvaluationError where the harness is not installed,
    for an unknown name, where a data set is not here and cannot be fetched, and for a task that cannot be asked.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise EvaluationError(
            f"the lm-evaluation-harness is not installed ({error})",
            f"Install it beside what is there: {fit(EXTRA, pins(EXTRA)).command}. Nothing was asked.",
        ) from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    files = [name for name in names if _is_file(name)]
    beside = sorted({str(Path(name).expanduser().absolute().parent) for name in files})
    manager: Any = TaskManager(include_path=beside, include_defaults=len(files) < len(names))
    suites = [_suite(manager, name) for name in dict.fromkeys(names)]
    if len({suite.name for suite in suites}) < len(suites):
        raise EvaluationError("two suites have the same name", "Rename a file. Nothing was asked.")
    return suites


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _suite(manager: Any, name: str) -> Suite:
    wanted = TASKS.get(name, (name,))
    if _is_file(name):
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise EvaluationError(f"there is no file {name}", "Nothing was asked.")
        wanted = tuple(one for one, entry in manager.task_index.items() if entry.yaml_path == path)
        if not wanted:
            raise EvaluationError(f"{name} describes no task of the harness's", "Nothing was asked.")
        name = path.stem
    elif missing := [one for one in wanted if one not in manager.all_tasks]:
        near = difflib.get_close_matches(missing[0], [*TASKS, *manager.all_tasks], n=4)
        told = f"Close to it: {', '.join(near)}." if near else "`python -m lm_eval ls tasks` lists all that there are."
        raise EvaluationError(f"the harness has no task {missing[0]!r}", f"{told} Nothing was asked.")
    try:
        found = manager.load(list(wanted))
    except ImportError as error:
        raise EvaluationError(
            f"the suite {name} needs a package that is not installed ({error})", "Install it. Nothing was asked."
        ) from error
    except OSError as error:  # of the hub's client and of `datasets`: no network, or no such data set
        raise _not_here(name, first_line(error)) from error
    except Exception as error:
        raise EvaluationError(
            f"the suite {name} could not be loaded ({type(error).__name__}: {first_line(error)})", "Nothing was asked."
        ) from error
    for task in found["tasks"].values():
        _require_askable(task)
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
    groups = found["groups"]
    return Suite(name, found["tasks"], {one: _pooled(groups[one]) for one in wanted if one in groups})


def _not_here(name: str, why: str) -> EvaluationError:
    return EvaluationError(
        f"the data of the suite {name} are not on this machine and cannot be fetched ({why})",
        f"Where there is a network, `cai evaluate --suite {name} --plan` of any run fetches them into the caches of "
        "Hugging Face (~/.cache/huggingface, or $HF_HOME) and NLTK (~/nltk_data); copy both here, and set "
        "HF_HUB_OFFLINE=1 so that no network is waited for. Nothing was asked.",
    )


def _require_askable(task: Any) -> None:
    """Raise EvaluationError for what a model behind `generate` and `score` cannot be asked, or must not be."""
    name, why = task.task_name, ""
    if getattr(task, "UNSAFE_CODE", False):
        why = "it runs code that a model wrote"
    elif getattr(task, "MULTIMODAL", False):
        why = "it shows pictures or sounds"
    elif task.OUTPUT_TYPE not in ASKABLE:
        why = f"it is of the kind {task.OUTPUT_TYPE}, which asks for more than the log-probability of a choice"
    if why:
        raise EvaluationError(f"the task {name} cannot be asked here: {why}", "Choose another. Nothing was asked.")
    if NEEDS_PUNKT in name:
        import nltk

        try:
            nltk.data.find("tokenizers/punkt_tab")
        except LookupError as error:
            raise _not_here(name, "NLTK's punkt_tab, by which sentences are counted") from error


def _pooled(group: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A group's tasks, and its metrics that are means over all their items."""
    metrics = tuple(one.metric.partition(",")[0] for one in group.aggregate_metric_list or () if one.weight_by_size)
    return tuple(task.task_name for task in group.get_all_tasks()), metrics


def _shots(task: Any) -> int:
    return int(task.get_config("num_fewshot") or 0)


def outcomes(suite: Suite, model: Any, *, formatted: bool) -> Iterator[Row]:
    """Ask a model (an LM of the harness) all of a suite; rows of `suite_answers`, as far as the harness knows them.

    `formatted` has each item written by the model's `apply_chat_template`. The same solved examples stand in front of
    an item under every condition.
    """
    from lm_eval.evaluator import evaluate

    for task in suite.tasks.values():
        task.set_fewshot_seed(seed=SEED)
    found: Any = evaluate(
        lm=model,
        task_dict={"tasks": dict(suite.tasks)},
        bootstrap_iters=0,
        apply_chat_template=formatted,
        fewshot_as_multiturn=True,
    )
    for name, samples in found["samples"].items():
        task = suite.tasks[name]
        by_document: dict[int, Row] = {}
        for sample in samples:  # one for each filter of a document's answers
            row = by_document.setdefault(sample["doc_id"], _row(suite.name, task, sample, model))
            row["metrics"] |= _numbers(task, sample)
        yield from by_document.values()


def _row(suite: str, task: Any, sample: Mapping[str, Any], model: Any) -> Row:
    document = sample["doc"]
    alike = next((document[name] for name in ALIKE if isinstance(document.get(name), str)), sample["doc_hash"])
    first = sample["filtered_resps"][0]
    if task.OUTPUT_TYPE == "multiple_choice":
        values = [value for value, _ in sample["filtered_resps"]]
        first = sample["arguments"][values.index(max(values))][1]
    return {
        "suite": suite,
        "task": task.task_name,
        "doc_id": sample["doc_id"],
        "doc_sha256": sample["doc_hash"],
        "cluster": alike,
        "target": sample["target"] if isinstance(sample["target"], str) else json.dumps(sample["target"], default=str),
        "answer": first if isinstance(first, str) else json.dumps(first, default=str),
        "metrics": {},
        "request_ids": model.asked[task.task_name, sample["doc_id"]],
        "version": str(task.VERSION),
        "shots": _shots(task),
        "harness": f"lm-eval {installed('lm-eval')}",
    }


def _numbers(task: Any, sample: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of an item that are one number; those that only a whole task has, such as F1, are none.

    Whether a choice is what greedy decoding gives is not known, so `exact_match` of choices is left out.
    """
    import numpy as np

    found = {}
    for metric in sample["metrics"]:
        value = sample[metric]
        if task.OUTPUT_TYPE == "multiple_choice" and metric == "exact_match":
            continue
        if isinstance(value, bool | int | float | np.number | np.bool_) and np.isfinite(value):
            found[metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"] = float(value)
    return found
