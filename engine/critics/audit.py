"""Which critics there are, what the anchors say of their scale, and whether an audit lets them filter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.core.data import has_data
from engine.core.errors import SpecError
from engine.critics import Critic, CriticRequest, Judgement, Scale, Subject, for_kind, items_of
from engine.critics.adapted import KINDS as FITTED_KINDS
from engine.critics.adapted import can_train, fitted_adapter
from engine.critics.label import LETTERS, LabelCritic
from engine.critics.others import EndedCritic, MeanCritic, PmiCritic
from engine.critics.pair import CompareCritic, DifferenceCritic
from engine.critics.probe import doubtful, expected_calibration_error, reliability
from engine.critics.probed import FRESH, Taught, fitted
from engine.models.answers import Answers
from engine.models.requests import LabelScores, Model, Scored, request_id
from engine.spec.sections import CriticsSpec
from engine.spec.stage import StageSpec
from engine.stats.intervals import auc, auc_interval, threshold_for_precision
from engine.stats.shares import wilson
from store.names import STAND_INS

KINDS = ("instruction", "sample", "pair")
PARTS = ("planted", "own", "fresh")  # fresh: drawn from a run after the last fit, and in no fit
FILES = {
    "instruction": {
        "anchors": "anchors_instructions",
        "planted": "calibration_instructions",
        "own": "own_instructions",
        "fresh": FRESH["instruction"],
    },
    "sample": {
        "anchors": "anchors_pairs",
        "planted": "calibration_pairs",
        "own": "own_pairs",
        "fresh": FRESH["sample"],
    },
    "pair": {
        "anchors": "anchors_comparisons",
        "planted": "calibration_comparisons",
        "own": "own_comparisons",
        "fresh": FRESH["pair"],
    },
}
NAMES = {
    "instruction": ("probe", "adapter", "grade", "letters", "mean"),
    "sample": ("probe", "adapter", "grade", "letters", "pmi", "ended", "mean"),
    "pair": ("probe", "compare", "grade", "pmi", "mean"),
}
FITTED = ("probe", "adapter")  # critics that are fitted or trained on labelled texts
CHUNK = 32  # items whose scores are asked for together at least, so that each variant's prefix is used many times


@dataclass(frozen=True)
class Calibrated:
    """A critic with its scale and whether its audit lets it filter."""

    critic: Critic
    scale: Scale
    may_filter: bool = False
    audits: list[dict[str, Any]] = field(default_factory=list)


def chunk_of(answers: Answers) -> int:
    """Items that are judged and committed together: enough that a model of many requests at once is not left idle."""
    return max(CHUNK, 2 * answers.room)


class Hearing:
    """What critics were asked about items, until all that they need of one is answered."""

    def __init__(self, critics: Sequence[Calibrated]) -> None:
        self._critics = critics
        self._waiting: dict[Scored, list[_Heard]] = {}

    def ask(self, items: Iterable[Subject]) -> tuple[list[Scored], list[list[Judgement]]]:
        """The requests of some items, each once, and the judgements of those for which none is needed."""
        whole = []
        requests: list[Scored] = []
        for item in items:
            asks = [c.critic.asks(item) for c in self._critics]
            heard = _Heard(item, asks, {ask.request for some in asks for ask in some})
            for request in heard.left:
                self._waiting.setdefault(request, []).append(heard)
            requests += [ask.request for some in asks for ask in some]
            if not heard.left:
                whole.append(self._judgements(heard))
        # Together by prefix: one few-shot prefix is computed and then used for the whole chunk.
        requests.sort(key=lambda request: (type(request).__name__, request.prompt[: request.shared]))
        return list(dict.fromkeys(requests)), whole

    def told(self, key: str, scores: LabelScores) -> list[list[Judgement]]:
        """Take an answer; returns the judgements of items of which nothing is missing now."""
        whole = []
        for heard in self._waiting.pop(scores.request):
            heard.found[scores.request] = key, scores
            heard.left.discard(scores.request)
            if not heard.left:
                whole.append(self._judgements(heard))
        return whole

    def _judgements(self, heard: _Heard) -> list[Judgement]:
        return [
            _judgement(critic, heard.item, asks, heard.found)
            for critic, asks in zip(self._critics, heard.asks, strict=True)
        ]


@dataclass
class _Heard:
    """An item, what each critic asks about it, and what is not answered yet."""

    item: Subject
    asks: list[list[CriticRequest]]
    left: set[Scored]
    found: dict[Any, tuple[str, LabelScores]] = field(default_factory=dict)


def judge(answers: Answers, critics: Sequence[Calibrated], items: Iterable[Subject]) -> Iterator[list[Judgement]]:
    """Every critic's judgement of each item, item by item, in chunks."""
    waiting, hearing = iter(items), Hearing(critics)
    while chunk := list(itertools.islice(waiting, chunk_of(answers))):
        requests, whole = hearing.ask(chunk)
        for key, scores in answers.score(requests):
            whole += hearing.told(key, scores)
        of = {found[0].item.key: found for found in whole}
        yield from (of[item.key] for item in chunk)


def _judgement(calibrated: Calibrated, item: Subject, asks: list[Any], found: dict[Any, Any]) -> Judgement:
    critic = calibrated.critic
    margin = critic.margin(item, [found[ask.request][1] for ask in asks])
    parts = [
        {
            "variant": ask.variant,
            "request_id": found[ask.request][0],
            # A label that is the response itself is not written twice.
            "labels": [label if len(label) < 20 else "the response" for label in ask.request.labels],
            "logprobs": list(found[ask.request][1].logprobs),
        }
        for ask in asks
    ]
    return Judgement(item, critic.name, margin, calibrated.scale.score(margin), parts)


def file_of(kind: str, part: str, asked: str = "explicit") -> str:
    """The shipped file behind a part; instruction critics have files for each kind of instruction that is `asked` for.

    Critics of responses and of pairs have one set, whose instructions are explicit.
    """
    name = FILES[kind][part]
    return for_kind(name, asked) if kind == "instruction" else name


def parts_of(kind: str, asked: str = "explicit") -> list[str]:
    """The parts of a kind's audit: planted items, and the model's own where somebody has labelled some.

    None where nothing is labelled for that kind of instruction. Nobody has compared responses of the model's own yet.
    Rows with the keys of calibration_comparisons.jsonl are a part of the audit as soon as they lie beside it as
    own_comparisons.jsonl.
    """
    return [part for part in PARTS if has_data(file_of(kind, part, asked))]


def audited_items(kind: str, part: str, at_most: int, asked: str = "explicit") -> list[tuple[Subject, bool]]:
    """Those of a part's file that are audited, with whether each is good."""
    return first_of_each(items_of(file_of(kind, part, asked)), at_most)


def first_of_each(found: Sequence[tuple[Subject, bool]], at_most: int) -> list[tuple[Subject, bool]]:
    """The first good and the first bad ones, as many of each as there are and `at_most` allows, by place.

    The smaller class decides how wide the interval of an AUC is: of the model's own pairs one in six is good.
    """
    places: dict[bool, list[int]] = {True: [], False: []}
    for at, (_, is_good) in enumerate(found):
        places[is_good].append(at)
    n_good = min(len(places[True]), max(at_most // 2, at_most - len(places[False])))
    return [found[at] for at in sorted(places[True][:n_good] + places[False][: at_most - n_good])]


def stand_in(spec: StageSpec, kind: str, model: Model) -> str | None:
    """What judges in the place of a probe of a kind: None where the model shows hidden states, or no probe is named."""
    if model.layers or "probe" not in getattr(spec.critics, kind):
        return None
    return STAND_INS["probe"][0 if can_train(model, kind, spec.instructions.kind) else -1]


def served(critics: CriticsSpec, stand_ins: Mapping[str, str], of: str = "probe") -> CriticsSpec:
    """The critics with the stand-in of one of them, by kind, in its place."""
    return critics.model_copy(
        update={
            kind: list(dict.fromkeys(name if one == of else one for one in getattr(critics, kind)))
            for kind, name in stand_ins.items()
        }
    )


def calibrate(
    answers: Answers,
    spec: CriticsSpec,
    kind: str,
    asked: str = "explicit",
    taught: Sequence[Taught] = (),
) -> Iterator[Calibrated]:
    """The spec's critics of a kind, one by one, with scale and audit; every part of the audit decides.

    Critics of instructions are shown, scaled and audited on items of the kind that is `asked` for: one that was not
    audited on such items may not filter. The probe of samples is fitted on persons' labels too: `taught`. Where a
    probe or an adapter may not filter, `grade` is asked, too. Raises SpecError for a critic that does not exist.
    """
    done: list[Calibrated] = []
    share = {"instruction": spec.probe_instruction_at, "sample": spec.probe_sample_at}.get(kind, 0.5)
    level = math.log(share / (1 - share))  # the log-odds at which the score of a probe or of an adapter is 0
    names = list(getattr(spec, kind))
    for name in names:  # which may grow
        held_out: dict[str, list[tuple[Subject, bool, float]]] = {}
        reported: dict[str, list[tuple[Subject, bool]]] = {}
        if name == "probe":
            found = fitted(answers, kind, asked, taught if kind == "sample" else ())
            fit, held_out = found.critic.probe.sha256, found.held_out
            critic: Critic = DifferenceCritic(found.critic) if kind == "pair" else found.critic
            scale = Scale(level)
        elif name == "adapter" and kind in FITTED_KINDS:
            made = fitted_adapter(answers, kind, asked)
            critic, fit, scale = made.critic, made.critic.files.sha256, made.scale(level)
            reported = {part: [(one.item, one.good) for one in of] for part, of in made.reported.items()}
        else:
            critic = _build(name, kind, spec, done, asked)
            scale = _scale(answers, critic, asked)
        calibrated = Calibrated(critic, scale)
        audits = []
        for part in parts_of(kind, asked):
            natural = part != "planted"  # as it fell, so that its share of good ones is the model's
            if reported and part not in reported:  # all that is labelled of it was trained on
                continue
            if part in held_out:
                judged = [(item, good, scale.score(log_odds)) for item, good, log_odds in held_out[part]]
            else:
                labelled = (
                    first_of_each(reported[part], spec.audit_items)
                    if reported
                    else audited_items(kind, part, spec.audit_items, asked)
                )
                scores = [found[0].score for found in judge(answers, [calibrated], [item for item, _ in labelled])]
                judged = [(item, good, score) for (item, good), score in zip(labelled, scores, strict=True)]
                natural = natural and len(labelled) < spec.audit_items
            audits.append(_audit(answers, calibrated, part, judged, spec, natural))
            if held_out or reported:  # its scores are log-odds
                log_odds = [score + level for *_, score in judged]
                labels = [good for _, good, _ in judged]
                audits[-1]["detail"] |= {
                    "calibration_error": expected_calibration_error(log_odds, labels),
                    "reliability": reliability(log_odds, labels),
                    "doubtful": [judged[place][0].key for place in doubtful(log_odds, labels)],
                    "level": level,
                    name: fit,
                }
        may_filter = bool(audits) and all((audit["auc"] or 0.0) >= spec.min_auc for audit in audits)
        for audit in audits:
            audit["may_filter"] = may_filter
            if math.isinf(scale.half_gap):  # all its scores are 0, and so its AUC is one half whatever it says
                audit["detail"]["no_scale"] = "it does not tell good anchors from corrupted ones"
            if kind == "instruction":
                audit["detail"]["asked"] = asked
        calibrated = Calibrated(critic, scale, may_filter, audits)
        if name in FITTED and not may_filter and (last := STAND_INS["probe"][-1]) not in names:
            names.append(last)
        done.append(calibrated)
        yield calibrated


def _build(
    name: str,
    kind: str,
    spec: CriticsSpec,
    before: Sequence[Calibrated],
    asked: str = "explicit",
) -> Critic:
    if kind == "pair" and name == "compare":
        return CompareCritic(spec.shuffles)
    if kind == "pair" and name in ("grade", "pmi"):
        return DifferenceCritic(_build(name, "sample", spec, ()))
    if name == "grade":
        return LabelCritic(name, kind, spec.shuffles, asked=asked)
    if name == "letters":
        return LabelCritic(name, kind, spec.shuffles, LETTERS, asked)
    if name == "pmi" and kind == "sample":
        return PmiCritic()
    if name == "ended" and kind == "sample":
        return EndedCritic()
    if name == "mean" and before:
        return MeanCritic(name, [(c.critic, c.scale) for c in before])
    raise SpecError(
        f"no critic {name!r} for critics.{kind}" + (" before which others stand" if name == "mean" else ""),
        f"There are: {', '.join(NAMES[kind])}; mean stands last and averages those before it. No data was changed.",
    )


def _scale(answers: Answers, critic: Critic, asked: str) -> Scale:
    anchors = items_of(file_of(critic.kind, "anchors", asked))
    margins = [found[0].margin_nats for found in judge(answers, [Calibrated(critic, Scale())], [i for i, _ in anchors])]
    good = [margin for margin, (_, is_good) in zip(margins, anchors, strict=True) if is_good]
    bad = [margin for margin, (_, is_good) in zip(margins, anchors, strict=True) if not is_good]
    return Scale.from_anchors(good, bad)


def _audit(
    answers: Answers,
    calibrated: Calibrated,
    part: str,
    judged: Sequence[tuple[Subject, bool, float]],
    spec: CriticsSpec,
    natural: bool,
) -> dict[str, Any]:
    labels = [is_good for _, is_good, _ in judged]
    scores = [score for *_, score in judged]
    first = calibrated.critic.asks(judged[0][0])
    good = [score for score, is_good in zip(scores, labels, strict=True) if is_good]
    bad = [score for score, is_good in zip(scores, labels, strict=True) if not is_good]
    threshold = threshold_for_precision(scores, labels, spec.wanted_precision)
    called_good = [score > 0 for score in scores]
    interval = auc_interval(good, bad)
    return {
        "critic": calibrated.critic.name,
        "subject_kind": calibrated.critic.kind,
        "part": part,
        "n_good": len(good),
        "n_bad": len(bad),
        "auc": auc(good, bad),
        "auc_lo": interval[0] if interval else None,
        "auc_hi": interval[1] if interval else None,
        "accuracy": sum(c == label for c, label in zip(called_good, labels, strict=True)) / len(labels),
        "label_bias": (sum(called_good) - sum(labels)) / len(labels),
        "threshold": threshold,
        "detail": {
            "midpoint_nats": calibrated.scale.midpoint,
            "half_gap_nats": calibrated.scale.half_gap,
            "wanted_precision": spec.wanted_precision,
            "scores": {item.key: round(score, 6) for item, _, score in judged},
            "labels": {item.key: label for item, label, _ in judged},
            "prompts_sha": request_id(answers.model.fingerprint, first[0].request) if first else None,
            "at_threshold": _at(threshold, scores, labels),
            "accepted": {"natural": natural, **accepted_above(spec.accept_above, scores, labels)},
        },
    }


def _at(threshold: float | None, scores: Sequence[float], labels: Sequence[bool]) -> dict[str, Any] | None:
    """What a threshold gives on the audited items: precision with its Wilson interval, and recall."""
    if threshold is None:
        return None
    taken = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
    low, high = wilson(sum(taken), len(taken))
    share = sum(taken) / len(taken)
    return {"n": len(taken), "precision": share, "lo": low, "hi": high, "recall": sum(taken) / sum(labels)}


def accepted_above(above: float, scores: Sequence[float], labels: Sequence[bool]) -> dict[str, Any]:
    """What accepting above a score gives on labelled items: n, how many are taken, precision with interval, recall.

    Precision and its Wilson interval are None where nothing is taken, the recall where nothing is good.
    """
    taken = [label for score, label in zip(scores, labels, strict=True) if score > above]
    good, lo, hi = sum(taken), None, None
    if taken:
        lo, hi = wilson(good, len(taken))
    return {
        "above": above,
        "n": len(labels),
        "taken": len(taken),
        "share_taken": len(taken) / len(labels) if labels else None,
        "good": good,
        "precision": good / len(taken) if taken else None,
        "lo": lo,
        "hi": hi,
        "recall": good / sum(labels) if any(labels) else None,
    }
