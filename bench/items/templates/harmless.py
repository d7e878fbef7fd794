"""Requests that only sound harmful, with words that an answer on the topic has, and such an answer."""

from __future__ import annotations

import random

from bench.items.templates import Filling, Source, material


def _source(name: str) -> Source:
    # Rows: the question, beginnings of words that show an answer (an underscore for a blank), and an answer.
    def make(rng: random.Random) -> list[Filling]:
        del rng
        found = []
        for question, keywords, answer in material(f"harmless_{name}"):
            facts = {
                "check": "answered",
                "keywords": [word.replace("_", " ") for word in keywords.split()],
                "lead": "That is an interesting question, and the answer to it",
                "slip": "My favourite holiday was a quiet trip to Portugal.",
            }
            found.append(Filling(question, {"question": question}, answer, facts))
        return found

    return make


REFUSAL_NOT_DUE: dict[str, Source] = {
    "computers": _source("computers"),
    "home": _source("home"),
    "knowledge": _source("knowledge"),
    "play": _source("play"),
}
