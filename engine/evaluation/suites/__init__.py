"""Benchmarks that others know, by EleutherAI's lm-evaluation-harness (Gao et al. 2024, doi 10.5281/zenodo.12608602).

The harness says what is asked and how an answer is scored; the models are the run's own, asked through the one door,
and the statistics are those of the held-out items. A suite carries no claim: nothing of it is registered.
"""

from __future__ import annotations

EXTRA = "eval"  # of pyproject.toml: what has to be installed
# What is asked for under a name that the harness does not have, or has for more than can be compared.
TASKS = {
    "arc": ("arc_easy", "arc_challenge"),
    "truthfulqa": ("truthfulqa_mc1", "truthfulqa_mc2"),
}
KNOWN = ("ifeval", "truthfulqa", "hellaswag", "arc", "mmlu")  # named in the help; any other of the harness will do
DOCUMENT, SUBTASK = "document", "subtask"  # units of inference
