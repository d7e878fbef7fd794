"""The ledger: what a store's runs have cost and may still cost, in whole millionths of a dollar.

What will be spent is written down as reserved before it is spent and replaced by what was spent after it, so that a
process that dies leaves no spend unknown. A row whose session is gone is settled by the next session: a slice of a
device's time at what can have passed of it, never below what is known to have been used; a model call in full, for
nobody can say whether its answer was billed.

The cap holds over all runs of a store. It is the spec's unless a person raised it, which is a row among the decisions.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.budget.prices import API, GPU, STORAGE, Price, Prices
from engine.core.errors import BudgetReached, SpecError
from engine.core.figures import booked
from engine.spec.stage import StageSpec, settings_of
from store.db import Store
from store.read import Reader
from store.salvage.clock import utc_now

TOPIC = "budget"  # of the decisions that raise the cap
WARNED = "budget_warned"  # the metric that keeps which shares of the cap a person was told of
RESERVED, SETTLED = "reserved", "settled"
LEFT_OPEN = ", left open by a session that ended"
GIB = 2**30

# When a session was last seen at work, by what it committed.
_LAST_SEEN = """
    SELECT max(t) AS "at" FROM (
        SELECT max("at") AS t FROM events WHERE session_id = $1
        UNION ALL SELECT max("at") FROM metrics WHERE session_id = $1
        UNION ALL SELECT max("at") FROM training_steps WHERE session_id = $1
        UNION ALL SELECT max(created_at) FROM completions WHERE session_id = $1
        UNION ALL SELECT max(created_at) FROM scores WHERE session_id = $1)
"""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One purchase: rows of the ledger, one for each unit it is counted in."""

    number: int
    phase: str
    stage: int
    prices: Prices


@dataclass(frozen=True, slots=True)
class Amount:
    """Millionths of a dollar: paid for, and set aside for what is under way."""

    settled: int = 0
    reserved: int = 0

    @property
    def total(self) -> int:
        return self.settled + self.reserved

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.settled + other.settled, self.reserved + other.reserved)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a store's runs have cost: in all, by run, stage, phase and kind, and how many units were bought at what.

    `units` are {kind, detail, unit, quantity, price_usd, priced_on, micro_usd}, reserved ones included.
    """

    all: Amount
    by_run: Mapping[str, Amount]
    by_stage: Mapping[int, Amount]
    by_phase: Mapping[str, Amount]
    by_kind: Mapping[str, Amount]
    units: Sequence[Mapping[str, Any]]


def spent(reader: Reader, run_id: str | None = None) -> Spent:
    """The sums of the ledger, over all runs or of one."""
    rows = reader.query(
        "SELECT run_id, stage, phase, kind, state, sum(micro_usd)::BIGINT AS micro_usd FROM ledger "
        "WHERE $1 IS NULL OR run_id = $1 GROUP BY ALL ORDER BY ALL",
        [run_id],
    )
    by: dict[str, dict[Any, Amount]] = {name: {} for name in ("run_id", "stage", "phase", "kind")}
    total = Amount()
    for row in rows:
        amount = Amount(row["micro_usd"], 0) if row["state"] == SETTLED else Amount(0, row["micro_usd"])
        total += amount
        for name, sums in by.items():
            sums[row[name]] = sums.get(row[name], Amount()) + amount
    units = reader.query(
        "SELECT kind, replace(detail, $2, '') AS detail, unit, price_usd, priced_on, sum(quantity) AS quantity, "
        "sum(micro_usd)::BIGINT AS micro_usd FROM ledger WHERE $1 IS NULL OR run_id = $1 GROUP BY ALL ORDER BY ALL",
        [run_id, LEFT_OPEN],
    )
    return Spent(total, by["run_id"], by["stage"], by["phase"], by["kind"], units)


def cap_of(reader: Reader, spec: StageSpec) -> int | None:
    """The cap in millionths of a dollar: the spec's, or what a person raised it to; None where the spec sets none."""
    return None if spec.budget is None else max(_micro(spec.budget.cap_usd), _raised(reader) or 0)


def money_left(reader: Reader, spec: StageSpec) -> float | None:
    """US dollars up to the cap that are neither spent nor reserved, at least 0; None where the spec sets no cap."""
    cap = cap_of(reader, spec)
    return None if cap is None else max(cap - _total(reader), 0) / 1e6


def raise_cap(store: Store, run_id: str, usd: float, reason: str, by: str) -> Row:
    """Let all runs of a store together cost `usd`; returns the decision's row, which counts from then on.

    Only a person may: `by` is "person" or begins so ("person: A. Turing"). Raises SpecError where it is nobody or
    something else, where there is no reason, and for a cap that is not above the present one.
    """
    if by.split(":")[0].strip() != "person":
        raise SpecError(f"only a person may raise the budget, not {by!r}", "Nothing was changed.")
    if not reason.strip():
        raise SpecError("raising the budget wants a reason", "It is kept with the decision. Nothing was changed.")
    with store.reader() as reader:
        run = reader.run(run_id)
        cap, total = cap_of(reader, settings_of(run)), _total(reader)
        number = len(reader.query("SELECT 1 FROM decisions WHERE topic = ?", [TOPIC])) + 1
    if cap is None:
        raise SpecError("this run has no budget to raise", "Its spec has no section `budget`. Nothing was changed.")
    if not 0 < usd < 1e12 or _micro(usd) <= cap:
        raise SpecError(f"the budget can only be raised: it is {booked(cap)}, not below {usd:g}", "Name more dollars.")
    evidence = hashlib.sha256(f"{cap} {total}".encode()).hexdigest()
    row = {
        "run_id": run["run_id"],
        "decision_id": f"budget-{number:04d}",
        "topic": TOPIC,
        "question": f"May this store's runs cost more than {booked(cap)}? {booked(total)} are spent or reserved.",
        "answer": f"{_micro(usd) / 1e6:.6f}",
        "reason": reason.strip(),
        "decided_by": by,
        "evidence_sha256": evidence,
        "at": utc_now(),
    }
    store.append({"decisions": [row]})
    return row


@dataclass
class _Live:
    """A session of this process: its open rows are its own to settle, and its entries are numbered in one place."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: dict[str, int] = field(default_factory=dict)
    held: int = 0


# Only one process has a store open. A row whose session is not among these was left by one that is gone.
_LIVE: dict[tuple[Path, str], _Live] = {}
_LIVE_LOCK = threading.Lock()


class Ledger:
    """The ledger as one session writes it. Any thread may use it; close it with the session.

    Opening it settles what ended sessions left open. `cap_micro_usd` None: there is no cap. `warn_at` are shares of the
    cap. `clock` gives the time that rows are stamped with.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        session_id: str,
        cap_micro_usd: int | None,
        clock: Callable[[], datetime] = utc_now,
        *,
        warn_at: Sequence[float] = (),
    ) -> None:
        self.store, self.run_id, self.session_id, self.clock = store, run_id, session_id, clock
        self._cap, self._warn_at = cap_micro_usd, sorted(warn_at)
        self._key = (store.path, session_id)
        with _LIVE_LOCK:
            self._live = _LIVE.setdefault(self._key, _Live())
            self._live.held += 1
        self.settled_for_others = settle_left_open(store, clock)

    def close(self) -> None:
        """Give the session up: what it has open is then for the next one to settle. Closing twice is fine."""
        with _LIVE_LOCK:
            if _LIVE.get(self._key) is self._live:
                self._live.held -= 1
                if self._live.held <= 0:
                    del _LIVE[self._key]

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def new_entry(self, prices: Prices, phase: str, stage: int) -> LedgerEntry:
        """The next entry of its kind, of which nothing is written yet."""
        with self._live.lock:
            known = self._live.numbers
            if prices.kind not in known:
                with self.store.reader() as reader:
                    [last] = reader.query(
                        "SELECT max(split_part(entry_id, '/', 3)::INTEGER) AS n FROM ledger "
                        "WHERE run_id = ? AND session_id = ? AND kind = ?",
                        [self.run_id, self.session_id, prices.kind],
                    )
                known[prices.kind] = int(last["n"] or 0)
            known[prices.kind] += 1
            return LedgerEntry(known[prices.kind], phase, stage, prices)

    def reserve(self, prices: Prices, phase: str, stage: int, *quantities: float) -> LedgerEntry:
        """Set aside what is about to be spent, at most: a quantity for each unit of `prices`.

        A model call that the cap has no room for raises BudgetReached, with nothing written. A device and a volume are
        paid for in any case: their spend is written whatever the cap, and `check` says when to stop.
        """
        entry = self.new_entry(prices, phase, stage)
        rows = self.rows(entry, RESERVED, quantities)
        if prices.kind == API:
            with self.store.reader() as reader:
                cap, total = self._cap_now(reader), _total(reader)
            wanted = sum(row["micro_usd"] for row in rows)
            if cap is not None and total + wanted > cap:
                raise _reached(self.run_id, total, cap, f", and this call may cost {booked(wanted)}")
        self.store.append({"ledger": rows})
        return entry

    def settle(self, entry: LedgerEntry, *quantities: float) -> int:
        """Replace what was reserved by what was spent; returns its millionths of a dollar. Twice is as once."""
        rows = self.rows(entry, SETTLED, quantities)
        self.store.put({"ledger": rows})
        return sum(row["micro_usd"] for row in rows)

    def record_storage(self, prices: Prices, phase: str, stage: int) -> int:
        """Settle the GiB-hours since this was last done in the store, at today's size; returns millionths of a dollar.

        The first time counts from the first run's beginning. What lies there is the store, its log and the trainings.
        """
        now = self.clock()
        with self.store.reader() as reader:
            since = reader.query(
                'SELECT coalesce((SELECT max("at") FROM ledger WHERE kind = ?), (SELECT min(created_at) FROM runs)) '
                'AS "at"',
                [STORAGE],
            )[0]["at"]
        hours = max((now - since).total_seconds(), 0.0) / 3600 if since is not None else 0.0
        return self.settle(self.new_entry(prices, phase, stage), stored_bytes(self.store.path) / GIB * hours)

    def check(self) -> str | None:
        """Raise BudgetReached where what is spent and reserved comes to the cap; else a warning that is due, or None.

        Each share of `warn_at` is warned of once for each cap in a store. It takes a few milliseconds.
        """
        with self.store.reader() as reader:
            cap, total = self._cap_now(reader), _total(reader)
            if cap is None:
                return None
            if total >= cap:
                raise _reached(self.run_id, total, cap)
            due = [share for share in self._warn_at if total >= share * cap]
            if not due:
                return None
            name = f"{WARNED}_{cap}"
            known = {row["value"] for row in reader.query("SELECT value FROM metrics WHERE name = ?", [name])}
        new = [share for share in due if share not in known]
        if not new:
            return None
        stamp = {"run_id": self.run_id, "phase": "all", "name": name, "session_id": self.session_id, "at": self.clock()}
        self.store.append({"metrics": [stamp | {"value": share} for share in new]})
        return f"{100 * total / cap:.1f} % of the budget is spent or reserved: {booked(total)} of {booked(cap)}"

    def rows(self, entry: LedgerEntry, state: str, quantities: Sequence[float]) -> list[Row]:
        """An entry's rows in the table `ledger`, named by session, kind and number."""
        each = entry.prices.each
        if len(quantities) != len(each) or not all(0 <= quantity < float("inf") for quantity in quantities):
            units = ", ".join(price.unit for price in each)
            raise ValueError(f"a quantity from 0 on is wanted for each of {units}, not {quantities}")
        now = self.clock()
        name = f"{self.session_id}/{entry.prices.kind}/{entry.number:06d}"
        return [
            {
                "run_id": self.run_id,
                "entry_id": name if len(each) == 1 else f"{name}/{price.unit}",
                "kind": entry.prices.kind,
                "stage": entry.stage,
                "phase": entry.phase,
                "state": state,
                "micro_usd": price.micro_usd(quantity),
                "quantity": float(quantity),
                "unit": price.unit,
                "price_usd": price.usd,
                "priced_on": price.priced_on,
                "detail": price.detail,
                "session_id": self.session_id,
                "at": now,
            }
            for price, quantity in zip(each, quantities, strict=True)
        ]

    def _cap_now(self, reader: Reader) -> int | None:
        return None if self._cap is None else max(self._cap, _raised(reader) or 0)


def settle_left_open(store: Store, clock: Callable[[], datetime] = utc_now) -> list[Row]:
    """Settle the open rows of sessions that are gone; returns them as they stand now.

    Of a slice of a device's time at most what was reserved has passed, and no more than the time since then; but never
    less is settled than up to the last thing that the session committed. Anything else counts as spent in full.
    """
    if store.read_only:
        return []
    with store.reader() as reader:
        left = reader.query("SELECT * FROM ledger WHERE state = ? ORDER BY run_id, entry_id", [RESERVED])
        with _LIVE_LOCK:
            left = [row for row in left if (store.path, row["session_id"]) not in _LIVE]
        now = clock()
        for row in left:
            if row["kind"] == GPU:
                seen = reader.query(_LAST_SEEN, [row["session_id"]])[0]["at"]
                row["quantity"] = _passed(row["at"], row["quantity"], now, seen)
                price = Price(row["unit"], row["price_usd"], row["priced_on"], row["detail"])
                row["micro_usd"] = price.micro_usd(row["quantity"])
            row |= {"state": SETTLED, "detail": row["detail"] + LEFT_OPEN, "at": now}
    store.put({"ledger": left})
    return left


def stored_bytes(store: Path) -> int:
    """What a store takes on its volume: the file, what DuckDB keeps beside it, and the trainings of its runs."""
    files = [path for path in store.parent.glob(f"{store.name}*") if path.is_file()]
    trainings = store.parent / f"{store.stem}.trainings"
    files += [path for path in trainings.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files if path.exists())


def _passed(since: datetime, reserved: float, now: datetime, seen: datetime | None) -> float:
    passed = (now - since).total_seconds()
    most = min(reserved, passed) if passed >= 0 else reserved  # a clock that was set back says nothing
    return max(most, (seen - since).total_seconds() if seen is not None else 0.0)


def _total(reader: Reader) -> int:
    return int(reader.query("SELECT coalesce(sum(micro_usd), 0)::BIGINT AS n FROM ledger")[0]["n"])


def _raised(reader: Reader) -> int | None:
    """The cap that persons raised the budget to, in millionths of a dollar."""
    rows = reader.query(
        "SELECT max(try_cast(answer AS DECIMAL(18, 6))) AS usd FROM decisions "
        "WHERE topic = ? AND starts_with(decision_id, 'budget-') AND starts_with(decided_by, 'person')",
        [TOPIC],
    )
    return None if rows[0]["usd"] is None else int(rows[0]["usd"] * 1_000_000)


def _micro(usd: float) -> int:
    return round(usd * 1e6)


def _reached(run_id: str, total: int, cap: int, more: str = "") -> BudgetReached:
    return BudgetReached(
        f"the budget is used up: {booked(total)} of {booked(cap)} are spent or reserved{more}",
        f"Everything committed is kept. A person may raise it: `cai resume {run_id} --budget USD --reason TEXT`.",
    )
