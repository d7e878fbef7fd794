"""All about one principle, revision or preference pair, as text for the pane beside the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from textual.content import Content

from engine.core.figures import percents_whole
from tui.widgets.diff import word_diff
from tui.widgets.marks import QUIET, TONES, VERDICT_TONES, lines, row, share_bar, signed_bar
from tui.words.text import make_visible, one_line
from tui.words.wording import VERDICT_SHAPES

TEXT_SHOWN = 8_000  # characters of a text
_LABEL = f"bold {QUIET}"
_AGAINST = {"without": "no principle", "irrelevant": "an irrelevant principle"}
_MEASURES = {"margin_nats": "margin, nats", "useful": "useful share"}


@dataclass(frozen=True, slots=True)
class Told:
    """A pane's text: `head`, two texts side by side or None, `tail`."""

    title: str
    head: Content
    sides: tuple[Content, Content] | None = None
    tail: Content = field(default_factory=Content)


def tell_principle(found: Mapping[str, Any], width: int) -> Told:
    """Its words, what was measured, and its ablation."""
    words, n = found["principle"], found["drawn"]
    rows = [row((one_line(found["principle_id"], 60), "bold"), (f"  {found['category']}", QUIET))]
    if words is None:
        rows.append(row(("The constitution of this checkout has no principle of that name any more.", TONES["warn"])))
    else:
        rows.append(Content(make_visible(words.text)))
        rows += _fact_lines(
            ("critique", words.critique_request), ("revision", words.revision_request), ("comparison", words.comparison)
        )
    if found["changed"]:
        changed = "constitution.yaml has changed since this run: these are its present words, not those that were used."
        rows.append(row((changed, TONES["warn"])))
    rows += _titled("Measured in this run")
    beside = width >= 90
    bar = max(11, min(41, width - (64 if beside else 44)))
    for name, k, told in (
        ("critiques that name something", found["named"], "named"),
        ("revisions that were kept", found["kept"], "kept"),
    ):
        low, high = found[f"{told}_lo"], found[f"{told}_hi"]
        share = f"{k:,} of {n:,}" + (f", {100 * k / n:.0f} % {percents_whole(low, high)}" if n else "")
        drawn = row((share_bar(k / n, low, high, bar), "$text-accent"), (" 0 to 1", QUIET)) if n else Content("")
        rows.append(row((f"{name:<31}", QUIET), f"{share:<24} " if beside else share, drawn if beside else ""))
        rows += [row(" " * 31, drawn)] if n and not beside else []
    margin, low, high = found["margin_nats"], found["margin_lo"], found["margin_hi"]
    interval = f" [{low:+.3f}, {high:+.3f}]" if low is not None and high is not None else ""
    for name, told in (
        ("stopped by a rule", f"{found['by_rule']:,}"),
        ("preferred in one order only", f"{found['one_order']:,}"),
        ("mean margin", "–" if margin is None else f"{margin:+.3f} nats{interval}"),
        ("pairs that were kept", f"{found['pairs_kept']:,} of {found['pairs']:,}"),
    ):
        rows.append(row((f"{name:<31}", QUIET), told))
    if found["rejected_for"]:
        told = ", ".join(f"{item['flag'].replace('_', ' ')} {item['n']:,}" for item in found["rejected_for"])
        rows.append(row((f"{'rejected for':<31}", QUIET), (told, TONES["warn"])))
    rows += _titled("Ablation: what the principle itself does to a revision")
    rows += [_ablation_line(item) for item in found["ablation"]]
    if not found["ablation"]:
        command = f"cai ablate --principle {one_line(found['principle_id'], 60)}"
        rows.append(row(("There is no ablation of this principle yet: ", QUIET), command))
    return Told("Principle", lines(rows))


def _ablation_line(item: Mapping[str, Any]) -> Content:
    name = f"{_MEASURES.get(item['measure'], item['measure'])} against {_AGAINST.get(item['against'], item['against'])}"
    interval = "" if item["lo"] is None else f" [{item['lo']:+.3f}, {item['hi']:+.3f}]"
    p = "" if item["p"] is None else f", p {item['p']:.2g}"
    p += "" if item["p_corrected"] is None else f" (corrected {item['p_corrected']:.2g})"
    effect = "" if item["effect"] is None else f", {item['effect_name']} {item['effect']:+.2f}"
    if item["effect_lo"] is not None:
        effect += f" [{item['effect_lo']:+.2f}, {item['effect_hi']:+.2f}]"
    if item["beside_p"] is not None:
        effect += (
            f"; {item['beside']} p {item['beside_p']:.2g}, {item['beside_effect_name']} {item['beside_effect']:+.2f}"
        )
    told = f"  {item['with_mean']:.3f} against {item['against_mean']:.3f}, n={item['n']:,}, {item['test']}{p}{effect}"
    return row((f"{name}  ", QUIET), (f"{item['difference']:+.3f}{interval}", "bold"), told)


def tell_revision(found: Mapping[str, Any], width: int) -> Told:
    """Original, critique, revision as a difference from what it revises, margins in both orders."""
    rows = _verdict_lines(found)
    about = f"principle {found['principle_id']} · round {found['round']} · {found['n_tokens']} tokens"
    rows.append(row((about, QUIET)))
    texts = {"instruction": "instruction", "original": "original", "revised here": "before", "critique": "critique"}
    for label, name in texts.items():
        if name != "before" or found["before"] != found["original"]:
            rows += [_labelled(label, found[name]), Content("")]
    changes = word_diff((found["before"] or "")[:TEXT_SHOWN], found["response"][:TEXT_SHOWN])
    rows.append(row((f"{'revision':<13}", _LABEL), changes))
    rows += _margin_lines(found["margins"], "revision", width)
    rows += _titled("Made by")
    rows += _fact_lines(
        ("revision", found["revision_id"]), ("sample", found["sample_id"]), ("revises", found["parent_id"]),
        ("critique", found["critique_request_id"]), ("request", found["request_id"]),
    )  # fmt: skip
    return Told("Revision: [-what went-] {+what came+}", lines(rows))


def tell_pair(found: Mapping[str, Any], width: int) -> Told:
    """Chosen and rejected beside each other, the question, margins in both orders, the soft preference."""
    rows = _verdict_lines(found)
    about = [found["source"].replace("_", " "), found["detail"].replace("_", " ")]
    about += [f"principle {found['principle_id']}"] if found["principle_id"] else []
    rows.append(row((" · ".join(part for part in about if part), QUIET)))
    rows += [_labelled("instruction", found["instruction"]), _labelled("question", found["question"]), Content("")]
    chosen = _side(found, "chosen", "✓", TONES["good"])
    rejected = _side(found, "rejected", "✗", TONES["bad"])
    tail = _margin_lines(found["margins"], "chosen side", width)
    if found["preference"] is not None:
        told = " that the chosen side is better, over both orders"
        tail.append(row((f"{'probability':<14}", QUIET), (f"{found['preference']:.3f}", "bold"), told))
    longer = found["chosen_tokens"] - found["rejected_tokens"]
    tail.append(row((f"{'length':<14}", QUIET), f"chosen side {longer:+,} tokens"))
    tail += _titled("Made by")
    tail += _fact_lines(
        ("pair", found["pair_id"]), ("chosen", found["chosen_id"]), ("rejected", found["rejected_id"]),
        ("sample", found["sample_id"] or "none: its instruction came with the program"),
    )  # fmt: skip
    return Told("Pair", lines(rows), (chosen, rejected), lines(tail))


def _side(found: Mapping[str, Any], name: str, shape: str, tone: str) -> Content:
    side = found["sides"][name]
    what = f"  {side.get('what', '').replace('_', ' ')}, {found[f'{name}_tokens']} tokens"
    rows = [row((f"{shape} {name}", f"bold {tone}"), (what, QUIET))]
    rows.append(Content(make_visible(found[name], limit=TEXT_SHOWN)) if found[name] else row(("(empty)", QUIET)))
    if side.get("changed") and side["what"] not in ("answer", "refusal"):
        rows.append(row((make_visible(side["changed"], limit=400), QUIET)))
    return lines(rows)


# -- pieces of both ----------------------------------------------------------------------------------------------------


def _titled(title: str) -> list[Content]:
    return [Content(""), row((title, _LABEL))]


def _labelled(name: str, text: str | None) -> Content:
    return row((f"{name:<13}", _LABEL), make_visible(text, limit=TEXT_SHOWN) if text else ("(empty)", QUIET))


def _fact_lines(*facts: tuple[str, str]) -> list[Content]:
    return [row((f"{name:<11}", QUIET), make_visible(str(value), limit=2_000)) for name, value in facts]


def _verdict_lines(found: Mapping[str, Any]) -> list[Content]:
    verdict = found["verdict"]
    if not verdict:
        return [row(("· not decided yet", QUIET))]
    shape, tone = VERDICT_SHAPES.get(verdict, "·"), TONES[VERDICT_TONES.get(verdict, "quiet")]
    basis = {"unaudited": "an unaudited critic", "critic": "an audited critic"}.get(found["basis"], found["basis"])
    flags = found["flags"] or ()
    # The reason of a rejected one is what its flags say, and the margins, which stand below.
    why = "" if flags and verdict == "rejected" else f"  {one_line(found['reason'], 400)}"
    rows = [row((f"{shape} {verdict}", f"bold {tone}"), (f"  by {basis}", QUIET), why)]
    rows += [row((f"! {flag}", TONES["warn"]), (f"  {found['rules'].get(flag, '')}", QUIET)) for flag in flags]
    return rows


def _margin_lines(judgements: Sequence[Mapping[str, Any]], side: str, width: int) -> list[Content]:
    """Each critic's margin, and what it is made of: a preference that turns with the order is none."""
    rows = _titled(f"Margins in nats, positive for the {side}")
    if not judgements:
        return [*rows, row(("No critic compared these.", QUIET))]
    bar = max(11, min(61, width - 36))
    for item in judgements:
        orders = item["orders"] or ()
        reach = max([abs(item["margin_nats"]), *(abs(value) for value in orders)]) or 1.0
        power = ("", "") if item["audited"] else ("  unaudited", TONES["warn"])
        rows.append(_margin_line(one_line(item["critic"], 12), item["margin_nats"], bar, reach, "bold", power))
        for name, value in zip(("in front", "behind"), orders, strict=False):
            rows.append(_margin_line(f"  {name}", value, bar, reach, "", ("", "")))
        if orders and min(orders) <= 0 < max(orders):
            rows.append(row((" " * 14, ""), ("turns with the order: no preference", TONES["warn"])))
    return rows


def _margin_line(name: str, value: float, width: int, reach: float, style: str, power: tuple[str, str]) -> Content:
    return row((f"{name:<14}", QUIET), signed_bar(value, None, width, reach), (f" {value:+.3f}", style), power)
