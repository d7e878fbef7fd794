"""What the command line shows of an evaluation: what would be asked, what was registered, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.core.figures import count
from store.outcomes import shown
from tui.printed.tables import fact, gate_table, outcome, plain_table
from tui.words.evaluation import (
    audit_words,
    condition_words,
    gap_against,
    gap_words,
    guard_words,
    read_words,
    registration_caveat,
    repeat_words,
    result_words,
    score_words,
    seeds_against,
    seeds_words,
    unread_words,
)
from tui.words.judging import judge_words, offer_words
from tui.words.suites import suite_words
from tui.words.text import make_visible, one_line

Row = Mapping[str, Any]


def offer_report(offer: Row) -> Group:
    """What an evaluation would ask, as `engine.evaluation_offer` gives it."""
    table = plain_table("", "condition", "items>", "missing>", "who is asked, and how")
    for one in offer["conditions"]:
        shape = "○" if one["missing"] else "✓"
        table.add_row(shape, one["name"], count(one["items"]), count(one["missing"]), _asked(one))
    rows: list[RenderableType] = [fact("run", Text(str(offer["run"]), style="bold"))]
    for capability, types in offer["items"].items():
        test, dev = (sum(splits.get(name, 0) for splits in types.values()) for name in ("test", "dev"))
        about = capability.replace("_", " ")
        told = f"{about}: {count(test)} test and {count(dev)} development items in {len(types)} types"
        rows.append(fact("items" if capability == offer["capability"] else "", told))
    frozen = f"sha256 {offer['items_sha256'][:16]}, verified by code with sha256 {offer['scorer_sha256'][:16]}"
    rows += [
        fact("item set", frozen),
        fact("judge", offer_words(offer["judge"])),
        fact("registered", registered_words(offer["registered"]) + _caveat(offer)),
        Text(),
        table,
    ]
    return Group(*rows)


def _asked(one: Row) -> str:
    adapter = f" ({one['adapter']})" if one["adapter"] else f" ({one['model']})" if one["name"] == "reference" else ""
    return f"{one['in_words']}{adapter}"


def _caveat(offer: Row) -> str:
    if offer["registered"] is None:
        return ""
    told = registration_caveat(offer["registered"]["body"], offer["items_sha256"], offer["scorer_sha256"])
    return f", {told}" if told else ""


def registered_words(row: Row | None) -> str:
    """When something was settled beforehand, or that results will be exploratory."""
    if row is None:
        return "nothing yet: results will be exploratory; settle them first with cai preregister"
    return f"{row['registration_id']}, {row['at']:%Y-%m-%d %H:%M} UTC"


def registration_report(run_id: str, row: Row | None) -> Group:
    """What was settled before results existed."""
    if row is None:
        return Group(fact("run", run_id), fact("registered", "nothing: results of this run are exploratory"))
    rows: list[RenderableType] = [
        fact("run", Text(run_id, style="bold")),
        fact("registered", registered_words(row)),
        fact("sha256", str(row["sha256"])),
        Text(),
    ]
    rows += _plain(row["body"])
    return Group(*rows)


def _plain(value: Any, depth: int = 0) -> list[Text]:
    rows = []
    for name, one in value.items():
        if isinstance(one, Mapping):
            rows += [Text(f"{'  ' * depth}{name}", style="dim"), *_plain(one, depth + 1)]
        elif isinstance(one, Sequence) and not isinstance(one, str) and one and isinstance(one[0], Mapping):
            for number, part in enumerate(one, 1):
                rows += [Text(f"{'  ' * depth}{name} {number}", style="dim"), *_plain(part, depth + 1)]
        else:
            told = f"{one:g}" if isinstance(one, float) else one
            if isinstance(one, list | tuple):
                told = ", ".join(map(str, one))
            rows.append(Text.assemble((f"{'  ' * depth}{name:<24}", "dim"), make_visible(str(told), limit=400)))
    return rows


def evaluation_outcome(
    status: Row, account: Row, code: int, reason: str, store: Path, log: Path | None, go_on: str
) -> Group:
    """How an evaluation ended, what it measured, and what to do next; `account` as `evaluation_account` gives it."""
    run_id = str(status["run"])
    parts: list[RenderableType] = [
        fact("run", Text(run_id, style="bold")),
        fact("model", one_line(str(status["model"]))),
    ]
    parts += [fact("right", line) for line in condition_words(account["conditions"])]
    parts += [fact("scorer", line) for line in audit_words(account["audits"])]
    parts += [fact("scores", line) for line in score_words(account["scores"])]
    parts += [fact("repeated", line) for line in repeat_words(account["repeats"])]
    parts += [fact("judged", line) for line in judge_words(account["judged"])]
    parts += [fact("read", line) for line in read_words(account["audits"])]
    parts += [fact("over seeds", line) for line in seeds_words(account["seeds"])]
    parts += [fact("benchmark", line) for line in suite_words(account["suite_means"], account["suite_results"])]
    whole = [row for row in account["results"] if row["item_type"] == "all"]
    if whole:
        against = [guard_words(account["guard"])]
        against += [gap_against(account["gap"]), seeds_against(account["results"], account["seeds"])]
        against.append(unread_words(account["results"], account["audits"]))
        if against := [reason for reason in against if reason]:
            parts.append(fact("claim", f"none: {one_line('; '.join(against), 400)}"))
        parts += [Text(), results_table(whole, claims=not against)]
    if account["gap"]:
        parts += [Text(), gate_table(account["gap"])]
    return outcome([*parts, Text()], store, log, what_next(run_id, account, code, reason, go_on))


def repeats_report(run_id: str, repeats: Sequence[Any], over_seeds: Sequence[Row]) -> Group:
    """How far the repeats of a run are, as `engine.run.repeats` gives them, and what they say together."""
    rows: list[RenderableType] = [Text(), fact("run", Text(run_id, style="bold"))]
    for one in repeats:
        state = "evaluated" if one.evaluated else "trained" if one.trained else "begun" if one.run_id else "not begun"
        rows.append(fact(f"repeat {one.number}", f"{one.run_id or '–'}  {state}"))
    rows += [fact("over seeds", line) for line in seeds_words(over_seeds)]
    done = all(one.evaluated for one in repeats)
    then = f"write the report:  cai report {run_id} --out DIR" if done else f"go on with:  cai repeat {run_id}"
    return Group(*rows, Text(), Text(then))


def results_table(rows: Sequence[Row], *, claims: bool = True) -> RenderableType:
    """Comparisons, each with its interval, its corrected p value and its effect; a tick where it may be claimed."""
    table = plain_table(
        "", "compared", "test items>", "before>", "after>", "difference, 95 %", "p>", "corrected>", "effect", "role"
    )
    for row in rows:
        table.add_row("✓" if claims and shown(row) else "·", *result_words(row))
    return table


def what_next(run_id: str, account: Row, code: int, reason: str, go_on: str) -> list[str]:
    """What a person does now, by how the evaluation ended."""
    why = [make_visible(reason, limit=2000)] if reason else []
    if code == 0:
        if account["results"]:
            return [*why, f"write the report:  cai report {run_id} --out DIR"]
        told = gap_words(account["gap"])
        settle = [f"settle the hypotheses before there are results:  cai preregister {run_id}"]
        if account.get("registration"):
            settle = ["the hypotheses are settled"]
        return [*why, *([told] if told else []), *settle, f"then train:  cai train sft {run_id}"]
    if code == 4:
        return [*why, f"Every answer is kept. Look at them in the control center, room 6; again with: {go_on}"]
    if code == 3:
        return [*why, f"Every answer is kept. When it is decided, go on with: {go_on}"]
    if code == 130:
        return [*why, f"The answers so far are kept. Go on with: {go_on}"]
    return [*why, f"What was answered is kept. After the cause is removed, go on with: {go_on}"]


def replay_report(found: Row) -> Group:
    """What `engine.analyses.replay` measured."""
    shape, word, style = ("✓", "agrees", "green") if found["certified"] else ("✗", "differs", "bold red")
    rows: list[RenderableType] = [
        fact("run", Text(str(found["run"]), style="bold"), "  ", Text(f"{shape} the slice {word}", style=style)),
        fact("phase", f"{found['phase']}, {100 * found['fraction']:g} % of its model calls"),
        fact("texts", f"{count(found['texts_same'])} of {count(found['texts'])} the same, token for token"),
        fact("scores", f"{count(found['scores'])}, the largest difference {found['largest_difference_nats']:.2g} nats"),
        fact("verdicts", f"{count(found['verdicts_same'])} of {count(found['verdicts'])} the same"),
    ]
    rows += [fact("differs", make_visible(str(one), limit=400)) for one in found["detail"].get("differing", ())[:10]]
    rows += [fact(str(name), str(told)) for name, told in found["detail"].get("figures", {}).items()]
    return Group(*rows)
