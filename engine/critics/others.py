"""Critics beside the label critics: pointwise mutual information, how the answer ended, and means of others."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.critics import Critic, CriticRequest, Scale, Subject
from engine.models.requests import LabelScores, Score
from engine.spec import prompts


class PmiCritic:
    """How much likelier the response is under its instruction than under none, in nats a token.

    Pointwise mutual information with the instruction replaced by "N/A" (the domain-conditional form of Holtzman et al.
    2021, arXiv 2104.08315, section 3). It sees answers that are off the topic, and no wrong facts.
    """

    name = "pmi"
    kind = "sample"

    def asks(self, item: Subject) -> list[CriticRequest]:
        """The response's log-probability under its instruction and under none."""
        assert item.response is not None
        label = (f" {item.response}",)
        return [
            CriticRequest("its instruction", Score(prompts.plain_pair(item.instruction).text, label)),
            CriticRequest("no instruction", Score(prompts.plain_pair("N/A").text, label)),
        ]

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """In nats a token."""
        given, without = scores
        return (given.logprobs[0] - without.logprobs[0]) / max(given.n_tokens[0], 1)


class EndedCritic:
    """Whether the response ended by its marker: 1 or 0, no model asked."""

    name = "ended"
    kind = "sample"

    def asks(self, item: Subject) -> list[CriticRequest]:
        """None."""
        return []

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """1 where a stop sequence ended the response, else 0; no unit."""
        return float(item.stop_reason == "stop")


class MeanCritic:
    """The mean of other critics' scores, each with its own zero point and scale."""

    def __init__(self, name: str, members: Sequence[tuple[Critic, Scale]]) -> None:
        self.name = name
        self.kind = members[0][0].kind
        self._members = members

    def asks(self, item: Subject) -> list[CriticRequest]:
        """What its members ask, one after another."""
        return [
            CriticRequest(f"{critic.name}: {ask.variant}", ask.request)
            for critic, _ in self._members
            for ask in critic.asks(item)
        ]

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """Mean score of the members; in units of anchors' half-gaps."""
        values, at = [], 0
        for critic, scale in self._members:
            n = len(critic.asks(item))
            values.append(scale.score(critic.margin(item, scores[at : at + n])))
            at += n
        return math.fsum(values) / len(values)
