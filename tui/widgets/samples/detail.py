"""Everything about one sample: texts, verdict, margins with their raw logprobs, and what made it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.widgets.diff import word_diff
from tui.widgets.marks import QUIET, TONES, VERDICT_TONES, lines, row, signed_bar
from tui.words.text import make_visible, one_line
from tui.words.wording import VERDICT_SHAPES

RESPONSE_SHOWN = 20_000  # characters; a runaway of 100 kB would cost a second of wrapping
PROMPT_SHOWN = 8_000
PARTS_SHOWN = 8
NAME = 15  # cells of a critic's name
ROOMY = 12  # lines, from which on parts stand apart
LEAST_BAR = 8  # cells
REACH = 2.0  # score at either end of every bar, so that bars of two samples can be compared
_NAMED = (
    "score: the margin on the critic's own scale; 0 midway between good and corrupted anchors, 1 the good ones' mean; "
    "of a probe 0 at the probability that the spec accepts from",
    "nats: the raw margin; its sign need not be the score's, because the midpoint need not be 0 nats",
)
_LABEL = f"bold {QUIET}"


class SampleDetail(VerticalScroll, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", id="detail.down", show=False, tooltip="Scroll down"),
        Binding("k", "scroll_up", "Up", id="detail.up", show=False, tooltip="Scroll up"),
    ]

    def __init__(self) -> None:
        super().__init__(id="detail", classes="panel")
        self.border_title = "Sample"
        self.sample_id = ""
        self.no_scale: Collection[tuple[str, str]] = ()  # (critic, subject_kind) of those whose scores say nothing
        self._shown: tuple[Mapping[str, Any], float | None, bool] | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="detail-text", markup=False)

    def show_empty(self, text: str) -> None:
        self.sample_id, self.border_subtitle, self._shown = "", "", None
        self.query_one("#detail-text", Static).update(row((text, QUIET)))

    def show(self, sample: Mapping[str, Any], accept_above: float | None, *, blind: bool = False) -> None:
        """Show a sample; `blind` leaves out what critics and rules say, and what follows from it."""
        if self.sample_id != sample["sample_id"]:
            self.scroll_home(animate=False)
        self.sample_id = sample["sample_id"]
        self.border_subtitle = Content(f"{sample['sample_id'][:16]} · {sample['split'] or 'no split'}")
        self._shown = (sample, accept_above, blind)
        self._paint(sample, accept_above, blind)

    def on_resize(self) -> None:
        if self._shown is not None:
            self._paint(*self._shown)

    def _paint(self, sample: Mapping[str, Any], accept_above: float | None, blind: bool) -> None:
        width = max(20, self.size.width - 4)
        rows = _label_lines(sample)
        rows += [row(("verdict and margins are hidden", QUIET))] if blind else [_verdict_line(sample)]
        rows += [] if blind else _flag_lines(sample)
        instruction = Content(make_visible(sample["instruction"] or "", limit=4000))
        gap = [Content("")] if self.size.height >= ROOMY else []  # where little fits, it is text
        rows += [*gap, row(("Instruction", _LABEL)), instruction]
        rows += [*gap, row(("Response", _LABEL), ("" if blind else _ending(sample), QUIET)), _response(sample)]
        if sample.get("revision") is not None and not blind:  # only of what was accepted
            rows += [Content(""), row(("Revision", _LABEL)), word_diff(sample["response"], sample["revision"])]
        if not blind:
            for title, kind, judgements in (
                ("Margins of the pair", "sample", sample["judgements"]),
                ("Margins of the instruction", "instruction", sample["instruction_judgements"]),
            ):
                no_scale = [name for name, of in self.no_scale if of == kind]
                rows += _margin_lines(title, judgements, accept_above, width, no_scale)
            if sample["judgements"] or sample["instruction_judgements"]:
                rows += [row((text, QUIET)) for text in _NAMED]
        rows += _origin(sample)
        self.query_one("#detail-text", Static).update(lines(rows))


def _verdict_line(sample: Mapping[str, Any]) -> Content:
    verdict = sample["verdict"]
    if not verdict:
        return row(("· not judged yet", QUIET))
    shape, tone = VERDICT_SHAPES.get(verdict, "·"), TONES[VERDICT_TONES.get(verdict, "quiet")]
    reason = f"  {one_line(sample['reason'] or '', 160)}"
    return row((f"{shape} {verdict}", f"bold {tone}"), (f"  by {sample['basis']}", QUIET), reason)


def _flag_lines(sample: Mapping[str, Any]) -> list[Content]:
    meanings = sample.get("rules") or {}
    flags = sample["flags"] or ()
    return [row((f"! {flag}", TONES["warn"]), (f"  {meanings.get(flag, '')}", QUIET)) for flag in flags]


def _label_lines(sample: Mapping[str, Any]) -> list[Content]:
    label = sample["person_label"]
    if not label:
        return []
    note = f"  {one_line(label['note'], 300)}" if label["note"] else ""
    return [row((f"you: {label['label']}", "bold $text-accent"), note)]


def _ending(sample: Mapping[str, Any]) -> str:
    ended = {"stop": "ended by its marker", "eos": "ended by end of text", "length": "hit the token limit"}
    reason = ended.get(sample["stop_reason"], str(sample["stop_reason"]))
    rules = sorted({str(span["rule"]) for span in sample["trimmed"] or ()})
    cut = f" · trimmed by {', '.join(rules)}, shown ‹dimmed›" if rules else ""
    return make_visible(f"  {sample['n_tokens']} tokens, {reason}{cut}")


def _response(sample: Mapping[str, Any]) -> Content:
    """The raw text, what was trimmed dimmed and between ‹ ›."""
    raw = sample["raw"] or ""
    pieces: list[Content] = []
    at = 0
    for span in sorted(sample["trimmed"] or (), key=lambda span: span["start"]):
        start, end = max(at, int(span["start"])), int(span["end"])
        if end <= start or start >= RESPONSE_SHOWN:
            continue
        pieces.append(Content(make_visible(raw[at:start])))
        cut = make_visible(raw[start : min(end, RESPONSE_SHOWN)]).replace("\n", "↵\n")
        pieces.append(row((f"‹{cut}›", "italic $foreground-disabled")))
        at = end
    if at < len(raw):
        pieces.append(Content(make_visible(raw[at:], limit=max(0, RESPONSE_SHOWN - at))))
    return Content.assemble(*pieces) if raw else row(("(empty)", QUIET))


def _margin_lines(
    title: str,
    judgements: Sequence[Mapping[str, Any]],
    accept_above: float | None,
    width: int,
    no_scale: Collection[str] = (),
) -> list[Content]:
    """Each critic's score as a bar and in figures, its raw margin, and the calls behind it.

    The figures are told whole at any width: the bar takes what they leave, and goes where they leave too little.
    """
    if not judgements:
        return []
    in_force = accept_above is not None and any(item["audited"] for item in judgements)
    legend = f"  score, {-REACH:.0f} … +{REACH:.0f}; raw" + (" · ┃ threshold" if in_force else "")
    rows = [Content(""), row((title, _LABEL), (legend, QUIET))]
    for item in judgements:
        threshold = accept_above if item["audited"] else None
        scaled = item["critic"] not in no_scale
        score = f"{item['score']:+.2f}" if scaled else "no scale"
        raw = f" {item['margin_nats']:+.3f}" + (" nats" if item["parts"] else "")
        free = width - len(score) - len(raw)
        left, name = free - NAME - 1, max(5, min(NAME, free))
        bar: Content | str = ""
        if scaled and left >= LEAST_BAR:
            bar = Content.assemble(signed_bar(item["score"], threshold, min(61, left - 1), REACH), " ")
        critic = f"{one_line(item['critic'], name - 1):<{name}}"
        rows.append(row(critic, bar, (score, "bold" if scaled else TONES["warn"]), (raw, QUIET)))
        if not item["audited"]:
            rows.append(row(("               unaudited: stored, filters nothing", TONES["warn"])))
        parts = item["parts"] or ()
        rows += [_part_line(part) for part in parts[:PARTS_SHOWN]]
        if len(parts) > PARTS_SHOWN:
            rows.append(row((f"               … and {len(parts) - PARTS_SHOWN} more calls", QUIET)))
    return rows


def _part_line(part: Mapping[str, Any]) -> Content:
    known = zip(part.get("labels") or (), part.get("logprobs") or (), strict=False)
    shown = "  ".join(
        f"{one_line(str(label), 14)} {value:+.3f}" for label, value in known if isinstance(value, (int, float))
    )
    return row((f"               {one_line(str(part.get('variant', '')), 22):<12} ", QUIET), shown)


def _origin(sample: Mapping[str, Any]) -> list[Content]:
    decoding = sample["decoding"] or {}
    settings = ", ".join(f"{name} {value}" for name, value in decoding.items() if not isinstance(value, (dict, list)))
    facts = (
        ("seed", str(sample["seed"])),
        ("decoding", one_line(settings, 200)),
        ("request", str(sample["request_id"])),
        ("model", str(sample["fingerprint"])),
    )
    rows = [Content(""), row(("Made by", _LABEL))]
    rows += [row((f"{name:<10}", QUIET), value) for name, value in facts]
    prompt = Content(make_visible(sample["prompt"] or "", limit=PROMPT_SHOWN))
    return [*rows, Content(""), row(("Exact prompt", _LABEL)), prompt]
