"""What the Preferences room reads: principles with their evidence, revisions, preference pairs, and all about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.critics.pair import by_order
from store.names import PAIR_SOURCES

if TYPE_CHECKING:
    from store.read import Reader

Row = dict[str, Any]
PRINCIPLES, REVISIONS, PAIRS = "principles", "revisions", "pairs"
VIEWS = (PRINCIPLES, REVISIONS, PAIRS)
SOURCES = ("", *PAIR_SOURCES)
VERDICTS = ("", "accepted", "rejected")
ORDERS = ("ordinal", "best", "worst")

_KINDS = {REVISIONS: "revision", PAIRS: "pair"}
_FROM = """
    FROM {view} t
    LEFT JOIN instructions i ON i.run_id = t.run_id AND i.instruction_id = t.instruction_id
    LEFT JOIN verdicts v ON v.run_id = t.run_id AND v.subject_kind = '{kind}' AND v.subject_id = t.{kind}_id
    LEFT JOIN judgements j ON j.run_id = t.run_id AND j.subject_kind = '{kind}' AND j.subject_id = t.{kind}_id
        AND j.critic = ?
    WHERE t.run_id = ?
"""
_OWN = {
    REVISIONS: "t.sample_id, t.principle_id, t.round, t.n_tokens",
    PAIRS: "t.source, t.detail, t.principle_id, t.chosen_tokens - t.rejected_tokens AS longer",
}
_BY = {
    "ordinal": "t.ordinal, {id}",
    "best": "j.margin_nats DESC NULLS LAST, {id}",
    "worst": "j.margin_nats ASC NULLS LAST, {id}",
}


@dataclass(frozen=True, slots=True)
class PairFilter:
    """What a person wants listed; "" leaves a filter out."""

    view: str = PRINCIPLES
    verdict: str = ""
    source: str = ""
    principle: str = ""
    order: str = "ordinal"


def kept(given: object) -> PairFilter:
    """A filter as `asdict` gave it; one that leaves nothing out where it is no such thing."""
    known = {"view": VIEWS, "verdict": VERDICTS, "source": SOURCES, "order": ORDERS}
    fields = given if isinstance(given, dict) else {}
    sound = {name: value for name, value in fields.items() if name in known and value in known[name]}
    principle = fields.get("principle")
    return PairFilter(**sound, principle=principle if isinstance(principle, str) else "")


@dataclass(frozen=True, slots=True)
class Listed:
    """A list's size, how many there are without filters, where the sought row is, and the page that it is on."""

    wish: PairFilter
    count: int
    total: int
    at: int
    first: int
    rows: list[Row]
    critic: str  # whose margins are shown: the pair critic that decides


def listed(reader: Reader, run_id: str, wish: PairFilter, seek: str, page: int) -> Listed:
    """Principles all at once, of the others the page on which `seek` is, or the first one."""
    critic = deciding(reader, run_id)
    if wish.view == PRINCIPLES:
        critic = next(iter((reader.run(run_id)["settings"].get("critics") or {}).get("pair") or [""]))  # of evidence
        rows = principles(reader, run_id)
        at = next((at for at, row in enumerate(rows) if row["id"] == seek), 0)
        return Listed(wish, len(rows), len(rows), at, at // page * page, rows[at // page * page :][:page], critic)
    source, params = _chosen(wish, run_id, critic)
    count = reader.query(f"SELECT count(*) AS n {source}", params)[0]["n"]
    total = reader.query(f"SELECT count(*) AS n FROM {wish.view} WHERE run_id = ?", [run_id])[0]["n"]
    at = 0
    if seek:
        name = f"t.{_KINDS[wish.view]}_id"
        order = _BY[wish.order].format(id=name)
        found = reader.query(
            f"SELECT place - 1 AS at FROM (SELECT {name} AS id, row_number() OVER (ORDER BY {order}) AS place "
            f"{source}) WHERE id = ?",
            [*params, seek],
        )
        at = found[0]["at"] if found else 0
    first = at // page * page
    return Listed(wish, count, total, at, first, rows_of(reader, run_id, wish, critic, first, page), critic)


def rows_of(reader: Reader, run_id: str, wish: PairFilter, critic: str, offset: int, limit: int) -> list[Row]:
    """A page of revisions or pairs in the wished order, each with verdict, flags and the deciding critic's margin."""
    if wish.view == PRINCIPLES:
        return principles(reader, run_id)[offset : offset + limit]
    source, params = _chosen(wish, run_id, critic)
    name = f"t.{_KINDS[wish.view]}_id"
    return reader.query(
        f"SELECT {name} AS id, t.ordinal, i.text AS instruction, v.verdict, v.flags, j.margin_nats AS margin, "
        f"{_OWN[wish.view]} {source} ORDER BY {_BY[wish.order].format(id=name)} LIMIT ? OFFSET ?",
        [*params, limit, offset],
    )


def _chosen(wish: PairFilter, run_id: str, critic: str) -> tuple[str, list[object]]:
    source = _FROM.format(view=wish.view, kind=_KINDS[wish.view])
    params: list[object] = [critic, run_id]
    own_source = wish.source if wish.view == PAIRS else ""
    for column, value in (("v.verdict", wish.verdict), ("t.principle_id", wish.principle), ("t.source", own_source)):
        if value:
            source, params = f"{source} AND {column} = ?", [*params, value]
    return source, params


def deciding(reader: Reader, run_id: str) -> str:
    """The pair critic that decides under the run's settings; "" without any."""
    from engine.quality.pair_selection import deciding_critic  # not before the first frame: it brings DuckDB

    return deciding_critic(reader, run_id, reader.run(run_id)["settings"].get("critics") or {})


# -- principles --------------------------------------------------------------------------------------------------------


def principles(reader: Reader, run_id: str) -> list[Row]:
    """What engine.analyses.principles says of each principle; nothing for a run that makes no pairs."""
    from engine.analyses.principles import evidence

    if not reader.run(run_id)["settings"].get("pairs"):
        return []
    return [row | {"id": row["principle_id"]} for row in evidence(reader, run_id)]


def principle(reader: Reader, run_id: str, row: Mapping[str, Any]) -> Row:
    """A principle's words, what its revisions were rejected for, and its ablation where there was one."""
    from engine.spec.constitution import load_constitution

    known = load_constitution()
    then = (reader.run(run_id)["manifest"] or {}).get("constitution") or {}
    flags = reader.query(
        "SELECT flag, count(*) AS n FROM (SELECT unnest(v.flags) AS flag FROM revisions t JOIN verdicts v "
        "ON v.run_id = t.run_id AND v.subject_kind = 'revision' AND v.subject_id = t.revision_id "
        "WHERE t.run_id = ? AND t.principle_id = ? AND v.verdict = 'rejected') GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20",
        [run_id, row["id"]],
    )
    ablated = reader.query(
        "SELECT * FROM ablation_results WHERE run_id = ? AND principle_id = ? ORDER BY measure, against DESC LIMIT 20",
        [run_id, row["id"]],
    )
    changed = bool(then) and then.get("sha256") != known.sha256
    words = known.by_id.get(row["id"])
    return {**row, "principle": words, "changed": changed, "rejected_for": flags, "ablation": ablated}


# -- one revision, one pair --------------------------------------------------------------------------------------------


def revision(reader: Reader, run_id: str, name: str) -> Row | None:
    """A revision with its original, the text that it revised, and what was said of it; None if it is not there."""
    from engine.quality.revision_rules import REVISION_RULES
    from engine.quality.rules import RULES

    rows = reader.query(
        "SELECT t.*, i.text AS instruction, s.response AS original, coalesce(p.response, s.response) AS before, "
        "v.verdict, v.basis, v.flags, v.reason FROM revisions t "
        "LEFT JOIN instructions i ON i.run_id = t.run_id AND i.instruction_id = t.instruction_id "
        "LEFT JOIN samples s ON s.run_id = t.run_id AND s.sample_id = t.sample_id "
        "LEFT JOIN revisions p ON p.run_id = t.run_id AND p.revision_id = t.parent_id "
        "LEFT JOIN verdicts v ON v.run_id = t.run_id AND v.subject_kind = 'revision' AND v.subject_id = t.revision_id "
        "WHERE t.run_id = ? AND t.revision_id = ?",
        [run_id, name],
    )
    if not rows:
        return None
    known = RULES | REVISION_RULES | {"worse": "not every pair critic prefers it to what it revises, in both orders"}
    return {**rows[0], "rules": known, "margins": margins(reader, run_id, "revision", name)}


def pair(reader: Reader, run_id: str, name: str) -> Row | None:
    """A pair with what was said of it, and the sample that it leads back to; None if it is not there."""
    from engine.quality.pair_selection import PAIR_RULES

    rows = reader.query(
        "SELECT t.*, i.text AS instruction, v.verdict, v.basis, v.flags, v.reason FROM pairs t "
        "LEFT JOIN instructions i ON i.run_id = t.run_id AND i.instruction_id = t.instruction_id "
        "LEFT JOIN verdicts v ON v.run_id = t.run_id AND v.subject_kind = 'pair' AND v.subject_id = t.pair_id "
        "WHERE t.run_id = ? AND t.pair_id = ?",
        [run_id, name],
    )
    if not rows:
        return None
    sides = reader.query(
        "SELECT id, what, sample_id, changed FROM ("
        "SELECT sample_id AS id, 'sample' AS what, sample_id, '' AS changed FROM samples WHERE run_id = $1 "
        "UNION ALL SELECT revision_id, 'revision ' || round, sample_id, '' FROM revisions WHERE run_id = $1 "
        "UNION ALL SELECT candidate_id, source, sample_id, detail FROM candidates WHERE run_id = $1) "
        "WHERE id IN ($2, $3) LIMIT 8",
        [run_id, rows[0]["chosen_id"], rows[0]["rejected_id"]],
    )
    by_id = {side["id"]: side for side in sides}
    chosen, rejected = (by_id.get(rows[0][f"{side}_id"], {}) for side in ("chosen", "rejected"))
    return {
        **rows[0],
        "rules": PAIR_RULES,
        "sides": {"chosen": chosen, "rejected": rejected},
        "sample_id": rejected.get("sample_id") or chosen.get("sample_id") or "",
        "margins": margins(reader, run_id, "pair", name),
    }


def margins(reader: Reader, run_id: str, kind: str, name: str) -> list[Row]:
    """What each critic said of a revision or pair, with `orders`: its margin in front and behind, where it has them."""

    found = reader.judgements(run_id, kind, [name]).get(name, [])
    return [item | {"orders": by_order(item["parts"])} for item in found]


def sample_of(reader: Reader, run_id: str, view: str, name: str) -> str:
    """The sample that a revision or pair leads back to; "" for a pair of shipped prompts."""
    found = (revision if view == REVISIONS else pair)(reader, run_id, name)
    return str(found["sample_id"] or "") if found else ""
