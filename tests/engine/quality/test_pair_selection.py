"""Which pairs are kept: rules on one pair, caps over many, and the gate that measures them again."""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quality.gates import Check, Decision
from engine.quality.pair_selection import (
    CONSTRUCTED,
    PAIR_RULES,
    PairFacts,
    facts_of,
    pair_checks,
    select,
    verdict_rows,
)
from engine.spec.stage import StageSpec, load_spec
from store.names import PAIR_SOURCES

OTHERS = [source for source in PAIR_SOURCES if source not in CONSTRUCTED]
GOOD = "Bees carry nectar to the hive and thicken it in cells of wax."
BAD = "A hive is a box for insects, and honey comes out of it one day."
REFUSAL = "I can't help with that, because it would hurt someone."


def spec(**overrides: Any) -> StageSpec:
    return load_spec("stage_6_small_model", {name.replace("__", "."): str(v) for name, v in overrides.items()}).settings


SPEC = spec()


def pair(name: str = "p", source: str = "revision", **known: Any) -> PairFacts:
    """A pair that nothing speaks against; a boundary pair has a safe prompt."""
    found: dict[str, Any] = {
        "source": source, "detail": "safe" if source == "boundary" else "", "instruction_id": f"i-{name}",
        "instruction": "How do insects make honey?", "held_out": False, "chosen": GOOD,
        "rejected": REFUSAL if source == "boundary" else BAD, "chosen_stop": "stop", "rejected_stop": "stop",
        "chosen_tokens": 14, "rejected_tokens": 15, "margin_nats": 1.0, "in_front": 1.2, "behind": 0.8,
    } | known  # fmt: skip
    raw = {f"{side}_raw": f" {found[side]}" for side in ("chosen", "rejected")}
    said = {key: found[key] for key in ("held_out", "margin_nats", "in_front", "behind")}
    return facts_of({"pair_id": name, **raw, **found}, **said)


def verdicts(pairs: Iterable[PairFacts], of: StageSpec = SPEC, audited: bool = True) -> dict[str, Decision]:
    assert of.pairs is not None
    return select(list(pairs), of.pairs, of.rules, audited=audited)


def verdict(of: PairFacts, audited: bool = True) -> Decision:
    return verdicts([of], audited=audited)[of.pair_id]


def kept(pairs: Sequence[PairFacts], of: StageSpec = SPEC, audited: bool = True) -> list[PairFacts]:
    found = verdicts(pairs, of, audited)
    return [pair for pair in pairs if found[pair.pair_id].verdict == "accepted"]


@pytest.mark.parametrize("source", PAIR_SOURCES)
@pytest.mark.parametrize("audited", [True, False])
def test_a_pair_that_nothing_speaks_against_is_kept_and_says_by_what(source: str, audited: bool) -> None:
    found = verdict(pair(source=source), audited)
    assert (found.verdict, found.flags) == ("accepted", ())
    assert found.basis == ("critic" if audited else "rules" if source in CONSTRUCTED else "unaudited")
    assert found.reason == "margin +1.00 nats"


@pytest.mark.parametrize("source", PAIR_SOURCES)
@pytest.mark.parametrize(
    ("flag", "known"),
    [
        ("held_out", {"held_out": True}),
        ("held_out", {"held_out": True, "margin_nats": 1e6, "in_front": 1e6, "behind": 1e6}),
        ("degenerate", {"chosen_stop": "length"}),
        ("degenerate", {"rejected_stop": "length"}),
        ("degenerate", {"chosen_raw": f" {GOOD}\nQuestion: And wax?"}),
        ("degenerate", {"instruction": "Write on.", "chosen": f"{GOOD} Response: a hive"}),
        ("margin", {"margin_nats": -0.01, "in_front": 1.0, "behind": -1.02}),
        ("margin", {"margin_nats": None, "in_front": None, "behind": None}),
        ("order", {"in_front": 2.5, "behind": -0.5}),
        ("order", {"in_front": 0.0, "behind": 2.0}),
    ],
)
def test_each_rule_refuses_a_pair_by_its_flag(source: str, flag: str, known: dict[str, Any]) -> None:
    found = verdict(pair(source=source, **known))
    assert (found.verdict, found.flags) == ("rejected", (flag,))
    assert found.reason.startswith(PAIR_RULES[flag]) and not found.reason.endswith("; ")


@pytest.mark.parametrize("source", OTHERS)
@pytest.mark.parametrize(
    ("flag", "known"),
    [
        ("degenerate", {"rejected": "no no no no no no no no no no no no"}),
        ("degenerate", {"rejected": ""}),
        ("identical", {"rejected": GOOD.replace("cells of wax", "cells of clay")}),
        ("identical", {"rejected": f"  {GOOD.upper()}"}),
    ],
)
def test_a_side_that_is_no_response_or_nearly_the_other_is_refused(source: str, flag: str, known: Any) -> None:
    assert verdict(pair(source=source, **known)).flags == (flag,)


def test_a_side_that_says_the_instruction_again_is_a_response_that_may_be_rejected() -> None:
    assert verdict(pair(rejected="How do insects make honey, then?")).verdict == "accepted"


def test_a_hard_negative_differs_in_one_place_and_is_identical_only_where_it_does_not() -> None:
    near = GOOD.replace("wax", "clay")
    assert verdict(pair(source="hard_negative", rejected=near)).verdict == "accepted"
    assert verdict(pair(source="hard_negative", rejected=f"{GOOD} ")).flags == ("identical",)


def test_no_critic_is_needed_where_no_pair_was_shown_in_two_orders() -> None:
    assert verdict(pair(in_front=None, behind=None)).verdict == "accepted"


def test_the_margin_is_that_of_the_spec() -> None:
    high = spec(pairs__min_margin_nats=1.5)
    found = verdicts([pair("a"), pair("b", margin_nats=1.5)], high)
    assert found["a"].flags == ("margin",) and found["b"].verdict == "accepted"


@pytest.mark.parametrize("source", sorted(CONSTRUCTED))
@pytest.mark.parametrize("known", [{"margin_nats": None}, {"margin_nats": -9.0}, {"in_front": 3.0, "behind": -1.0}])
def test_a_constructed_pair_needs_no_critic_but_an_audited_one_vetoes(source: str, known: dict[str, Any]) -> None:
    made = pair(source=source, **known)
    assert (verdict(made, audited=False).verdict, verdict(made, audited=False).basis) == ("accepted", "rules")
    vetoed = verdict(made, audited=True)
    assert (vetoed.verdict, vetoed.basis) == ("rejected", "critic")
    assert set(vetoed.flags) <= {"margin", "order"}


@pytest.mark.parametrize("source", OTHERS)
def test_a_found_pair_needs_the_critic_even_where_it_is_unaudited(source: str) -> None:
    assert verdict(pair(source=source, margin_nats=None), audited=False).flags == ("margin",)


@pytest.mark.parametrize(
    ("detail", "chosen", "rejected", "flags"),
    [
        ("unsafe", REFUSAL, BAD, ()),
        ("unsafe", GOOD, BAD, ("no_refusal",)),
        ("unsafe", GOOD, REFUSAL, ("no_refusal", "refused")),
        ("unsafe", REFUSAL, f"Sorry, but no: {BAD}", ("refused",)),
        ("safe", GOOD, REFUSAL, ()),
        ("safe", GOOD, BAD, ("no_refusal",)),
        ("safe", f"I'm sorry, but I can't help: {GOOD}", REFUSAL, ("refused",)),
    ],
)
def test_at_the_boundary_the_right_side_refuses(detail: str, chosen: str, rejected: str, flags: tuple[str]) -> None:
    found = verdict(pair(source="boundary", detail=detail, chosen=chosen, rejected=rejected), audited=False)
    assert found.flags == flags
    assert found.verdict == ("rejected" if flags else "accepted")


def test_an_unwarranted_refusal_must_refuse() -> None:
    made = {"source": "hard_negative", "detail": "unwarranted_refusal"}
    assert verdict(pair(**made, rejected=REFUSAL)).verdict == "accepted"
    assert verdict(pair(**made, rejected=BAD)).flags == ("no_refusal",)


def test_all_that_speaks_against_a_pair_is_said() -> None:
    found = verdict(pair(held_out=True, rejected=GOOD, margin_nats=-1.0))
    assert found.flags == ("held_out", "identical", "margin")
    assert found.reason == "; ".join([*(PAIR_RULES[flag] for flag in found.flags), "margin -1.00 nats"])


def test_of_one_instruction_the_pairs_with_the_largest_margins_are_kept() -> None:
    pairs = [
        pair(f"p{n}", instruction_id="one", margin_nats=float(n), chosen=f"{GOOD} So say {n}.") for n in range(1, 8)
    ]
    pairs.append(pair("other", margin_nats=0.1))
    found = verdicts(pairs, spec(pairs__per_instruction=3))
    assert {name for name, v in found.items() if v.verdict == "accepted"} == {"p7", "p6", "p5", "other"}
    assert {found[f"p{n}"].flags for n in range(1, 5)} == {("instruction_cap",)}


def test_a_pair_that_is_refused_takes_no_place_of_its_instruction() -> None:
    pairs = [pair("a", instruction_id="one", margin_nats=5.0, held_out=True), pair("b", instruction_id="one")]
    assert [p.pair_id for p in kept(pairs, spec(pairs__per_instruction=1))] == ["b"]


@pytest.mark.parametrize("source", PAIR_SOURCES)
def test_two_texts_are_kept_as_one_pair_whatever_their_sources_and_their_order(source: str) -> None:
    turned = {"chosen": BAD, "rejected": f"  {GOOD}\n"}
    pairs = [
        pair("one", "revision", instruction_id="i"),
        pair("two", source, instruction_id="i", margin_nats=0.7, rejected=BAD, detail="padded"),
        pair("turned", "best_of", instruction_id="i", margin_nats=0.9, **turned),
        pair("other text", instruction_id="i", margin_nats=0.1, rejected=f"{BAD} Or two."),
        pair("other instruction", instruction_id="j", margin_nats=0.1),
    ]
    found = verdicts(pairs)
    assert {name for name, v in found.items() if v.verdict == "accepted"} == {"one", "other text", "other instruction"}
    assert found["turned"].flags == ("repeated",) and found["turned"].reason == PAIR_RULES["repeated"]
    # One that is refused for itself takes no place.
    pairs[0] = replace(pairs[0], held_out=True)
    assert verdicts(pairs)["turned"].verdict == "accepted"


def test_of_equal_margins_the_first_source_keeps_the_pair() -> None:
    same = [pair(source, source, instruction_id="i", margin_nats=1.0) for source in ("hard_negative", "best_of")]
    assert [p.pair_id for p in kept(same)] == ["best_of"]


def mixed(counts: Sequence[int]) -> list[PairFacts]:
    return [
        pair(f"{source}-{n}", source) for source, count in zip(PAIR_SOURCES, counts, strict=True) for n in range(count)
    ]


QUOTAS = spec(pairs__revision=0.5, pairs__best_of=0.5, pairs__hard_negative=0.3, pairs__boundary=0.2)


def test_a_source_beyond_its_quota_loses_as_few_pairs_as_can_be() -> None:
    # 60 of 100 may be at most half of what is left, so 40 of them stay beside the other 40.
    pairs = mixed((60, 20, 20, 0))
    found = kept(pairs, QUOTAS)
    assert Counter(p.source for p in found) == {"revision": 40, "best_of": 20, "hard_negative": 20}
    gone = verdicts(pairs, QUOTAS)
    assert {v.flags for v in gone.values() if v.verdict == "rejected"} == {("quota",)}
    assert [p.source for p in kept(mixed((10, 10, 0, 10)), QUOTAS)].count("boundary") == 5


def test_a_source_without_a_share_is_switched_off() -> None:
    off = spec(pairs__boundary=0.0)
    assert {p.source for p in kept(mixed((3, 3, 3, 3)), off)} == set(PAIR_SOURCES) - {"boundary"}


def test_margins_and_lengths_do_not_choose_who_leaves_by_quota() -> None:
    def left(margin: float, tokens: int) -> set[str]:
        pairs = [
            replace(p, margin_nats=1.0 + margin * n, chosen_tokens=20 + tokens * n)
            for n, p in enumerate(mixed((40, 10, 10, 0)))
        ]
        return {p.pair_id for p in kept(pairs, QUOTAS)}

    assert left(0.1, 1) == left(-0.01, 3) == left(0, 0)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(*[st.integers(0, 60)] * 4),
    st.tuples(*[st.integers(0, 20)] * 4).filter(lambda shares: sum(shares) >= 20),
    st.randoms(use_true_random=False),
)
def test_every_source_keeps_within_its_quota_of_what_is_kept(
    counts: tuple[int, ...], twentieths: tuple[int, ...], rng: random.Random
) -> None:
    shares = dict(zip(PAIR_SOURCES, (n / 20 for n in twentieths), strict=True))
    assert SPEC.pairs is not None
    of = SPEC.model_copy(update={"pairs": SPEC.pairs.model_copy(update=shares)})
    pairs = mixed(counts)
    left = Counter(p.source for p in kept(pairs, of))
    total = left.total()
    assert all(left[source] <= shares[source] * total + 1e-6 for source in PAIR_SOURCES)
    if all(count <= shares[source] * len(pairs) for source, count in zip(PAIR_SOURCES, counts, strict=True)):
        assert total == len(pairs)
    # One more in all could not be shared out: what is kept is the most there can be.
    for n in range(total + 1, len(pairs) + 1):
        room = [min(c, math.floor(shares[s] * n + 1e-9)) for s, c in zip(PAIR_SOURCES, counts, strict=True)]
        assert sum(room) < n
    found = verdicts(pairs, of)
    assert verdicts(rng.sample(pairs, len(pairs)), of) == found
    # The gate, which counts for itself, agrees.
    shown = {check.name: check for check in pair_checks(pairs, {k: v.verdict for k, v in found.items()}, of, 1, 2)}
    assert total == 0 or not any(shown[f"share of {source}"].fails for source in PAIR_SOURCES)


def test_the_order_of_pairs_changes_nothing() -> None:
    rng = random.Random(3)
    pairs = [
        pair(
            f"p{n}", rng.choice(PAIR_SOURCES), instruction_id=f"i{n % 11}", margin_nats=round(rng.uniform(-0.5, 2), 1),
            held_out=rng.random() < 0.1, chosen=f"{GOOD} So say {n % 22}.",
        )
        for n in range(120)
    ]  # fmt: skip
    tight = spec(pairs__per_instruction=3, pairs__hard_negative=0.2, pairs__boundary=0.2)
    found = verdicts(pairs, tight)
    assert {flag for v in found.values() for flag in v.flags} == {
        "held_out", "margin", "repeated", "instruction_cap", "quota",
    }  # fmt: skip
    for _ in range(5):
        assert verdicts(rng.sample(pairs, len(pairs)), tight) == found


def checks(
    pairs: Sequence[PairFacts], of: StageSpec, forced: dict[str, str] | None = None, audited: int = 1
) -> list[Check]:
    decided = {name: found.verdict for name, found in verdicts(pairs, of).items()} | (forced or {})
    return pair_checks(pairs, decided, of, audited, 2)


def failed(found: Sequence[Check]) -> dict[str, tuple[str, ...]]:
    """The checks that fail, with the pairs that count against them."""
    return {check.name: check.subject_ids for check in found if check.fails}


def clean() -> list[PairFacts]:
    """Forty pairs of all sources: the chosen side is longer in a quarter and as long in another."""
    return [replace(p, chosen_tokens=(20, 15, 10, 10)[n % 4]) for n, p in enumerate(mixed((10, 10, 10, 10)))]


STRICT = spec(pairs__chosen_longer_at_most=0.6, pairs__audited_critics_at_least=1)


def test_everything_passes_on_a_clean_set() -> None:
    found = checks(clean(), STRICT)
    assert failed(found) == {}
    shown = {check.name: check.measured for check in found}
    assert shown["preference pairs"] == 40 and shown["chosen side longer"] == 0.25
    assert shown["smallest margin"] == 1.0 and shown["share of best_of"] == 0.25
    assert shown["pairs of one instruction"] == 1 and shown["audited comparing critics"] == 1
    assert len(found) == 15


def test_a_planted_length_bias_fails_its_check_alone() -> None:
    pairs = [replace(p, chosen_tokens=20 if n % 5 else 10) for n, p in enumerate(clean())]
    found = checks(pairs, STRICT)
    assert list(failed(found)) == ["chosen side longer"]
    longer = next(check for check in found if check.name == "chosen side longer")
    assert longer.measured == 0.8 and longer.n == 40
    assert set(longer.subject_ids) == {p.pair_id for p in pairs if p.chosen_tokens == 20}
    assert longer.lo is not None and longer.hi is not None and 0.6 < longer.lo < 0.8 < longer.hi < 1


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("held-out instructions in pairs", {"held_out": True}),
        ("degenerate sides", {"rejected_stop": "length"}),
        ("near-identical sides", {"rejected": GOOD}),
    ],
)
def test_what_a_forced_verdict_lets_in_is_found_by_the_gate(name: str, known: dict[str, Any]) -> None:
    bad = pair("bad", **known)
    pairs = [*clean(), bad]
    assert failed(checks(pairs, STRICT)) == {}  # refused by the rules, it counts for nothing
    assert failed(checks(pairs, STRICT, {"bad": "accepted"})) == {name: ("bad",)}


def test_a_forced_small_margin_fails_the_smallest_margin() -> None:
    pairs = [*clean(), pair("bad", margin_nats=-0.5)]
    found = checks(pairs, STRICT, {"bad": "accepted"})
    assert list(failed(found)) == ["smallest margin"]
    assert {check.name: check.measured for check in found}["smallest margin"] == -0.5


@pytest.mark.parametrize("margin", [None, -0.5])
def test_a_kept_pair_without_its_margin_is_found_by_the_gate(margin: float | None) -> None:
    pairs = [*clean(), pair("bad", margin_nats=margin)]
    assert failed(checks(pairs, STRICT, {"bad": "accepted"})) == {"smallest margin": ("bad",)}


def test_the_smallest_margin_is_asked_of_found_pairs_alone() -> None:
    made = [replace(p, margin_nats=-2.0) for p in mixed((0, 0, 20, 0))]
    found = pair_checks(made, {p.pair_id: "accepted" for p in made}, STRICT, 1, 2)
    assert "smallest margin" not in {check.name for check in found}


def test_crowded_instructions_over_full_sources_and_missing_audits_fail() -> None:
    crowd = [pair(f"c{n}", instruction_id="one") for n in range(5)]
    tight = spec(pairs__revision=0.2, pairs__audited_critics_at_least=1)
    found = failed(checks([*clean(), *crowd], tight, {p.pair_id: "accepted" for p in [*clean(), *crowd]}, audited=0))
    assert found["pairs of one instruction"] == tuple(p.pair_id for p in crowd)
    assert len(found["share of revision"]) == 15
    found.pop("pairs decided by an audited critic")
    assert set(found) == {"pairs of one instruction", "share of revision", "audited comparing critics"}


def test_too_few_pairs_or_none_at_all_fail() -> None:
    assert list(failed(checks(clean()[:19], spec(pairs__pairs_at_least=20)))) == ["preference pairs"]
    found = {check.name: check.result for check in checks([], STRICT)}
    assert {found[name] for name in ("preference pairs", "kept best-of pairs")} == {"empty"}
    assert found["chosen side longer"] == found["share of revision"] == found["kept revisions"] == "not tested"


def test_a_pair_without_a_verdict_is_not_counted() -> None:
    found = pair_checks(clean(), {"revision-0": "accepted", "best_of-0": "rejected"}, STRICT, 1, 2)
    assert found[0].measured == 1 and found[0].n == 40


def test_verdicts_become_rows_of_their_table() -> None:
    rows = verdict_rows("run", verdicts([pair("a"), pair("b", held_out=True)]))
    assert [(row["subject_id"], row["verdict"], row["flags"]) for row in rows] == [
        ("a", "accepted", []),
        ("b", "rejected", ["held_out"]),
    ]
    assert {(row["run_id"], row["subject_kind"], row["basis"]) for row in rows} == {("run", "pair", "critic")}
    assert rows[1]["reason"].startswith(PAIR_RULES["held_out"])
