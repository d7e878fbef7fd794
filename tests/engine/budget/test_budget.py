"""The ledger: exact sums, reserved before and settled after, through kills, up to the cap and no further."""

from __future__ import annotations

import math
import random
import threading
import time
from datetime import timedelta

import pytest

from engine.budget.ledger import Amount, Ledger, cap_of, money_left, raise_cap, settle_left_open, spent, stored_bytes
from engine.budget.meter import GpuMeter
from engine.budget.prices import api_price, gpu_price, storage_price
from engine.core.errors import BudgetReached, SpecError
from engine.spec.stage import StageSpec
from store.db import Store
from tests.engine.budget.conftest import CAP, Clock, table, total
from tests.store import rows

# -- reserve and settle


def test_reserved_then_settled(ledger: Ledger, store: Store) -> None:
    prices = api_price("gpt-5", (1.25, 10.0))
    entry = ledger.reserve(prices, "review", 2, 4000, 2000)
    assert total(store) == Amount(0, 5000 + 20000)
    assert ledger.settle(entry, 3900, 120) == 4875 + 1200
    assert ledger.settle(entry, 3900, 120) == 4875 + 1200
    assert total(store) == Amount(6075, 0)
    first, second = table(store)
    assert first["entry_id"] == "session-1/api/000001/input_token"
    assert second["entry_id"] == "session-1/api/000001/output_token"
    assert (first["stage"], first["phase"], first["state"]) == (2, "review", "settled")
    assert ledger.reserve(prices, "review", 2, 1, 1).number == 2


def test_a_sum_of_the_ledger_is_that_of_its_rows(ledger: Ledger, store: Store, clock: Clock) -> None:
    rng = random.Random(3)
    prices = {"a": api_price("a", (0.13, 0.7)), "g": gpu_price(1.99, "H100"), "s": storage_price(0.1, "volume")}
    with Ledger(store, "run-b", "session-2", CAP, clock) as other:
        for _ in range(60):
            of, name = rng.choice([ledger, other]), rng.choice("ags")
            quantities = [rng.randrange(1, 5000)] * len(prices[name].each)
            entry = of.reserve(prices[name], rng.choice(["responses", "pairs"]), rng.choice([1, 2]), *quantities)
            if rng.random() < 0.7:
                of.settle(entry, *[rng.uniform(0, 1) * n for n in quantities])
    found = table(store)
    with store.reader() as reader:
        all_, one = spent(reader), spent(reader, "run-b")
    assert all_.all.total == sum(row["micro_usd"] for row in found)
    assert all_.all.reserved == sum(row["micro_usd"] for row in found if row["state"] == "reserved") > 0
    for sums, column in (
        (all_.by_run, "run_id"), (all_.by_phase, "phase"), (all_.by_stage, "stage"), (all_.by_kind, "kind"),
    ):  # fmt: skip
        assert sum(sums.values(), Amount()) == all_.all
        for name, amount in sums.items():
            assert amount.total == sum(row["micro_usd"] for row in found if row[column] == name)
    assert one.all == all_.by_run["run-b"]
    assert sum(row["micro_usd"] for row in all_.units) == all_.all.total
    # Every row's amount follows from its own quantity and price.
    assert all(row["micro_usd"] == math.ceil(row["quantity"] * row["price_usd"] * 1e6 - 1e-6) for row in found)


def test_two_ledgers_of_one_session_never_share_an_entry(ledger: Ledger, store: Store, clock: Clock) -> None:
    prices = api_price("m", (1.0, 1.0))
    ledger.reserve(prices, "review", 1, 10, 10)
    with Ledger(store, "run-a", "session-1", CAP, clock) as again:
        made = [of.reserve(prices, "review", 1, 10, 10).number for of in (again, ledger, again)]
    assert made == [2, 3, 4] and len(table(store)) == 8
    ledger.close()  # a session that is taken up again counts on from its rows
    with Ledger(store, "run-a", "session-1", CAP, clock) as later:
        assert later.reserve(prices, "review", 1, 10, 10).number == 5


@pytest.mark.parametrize("quantities", [(1,), (1, 2, 3), (-1, 2), (math.nan, 1), (math.inf, 1)])
def test_quantities_that_are_none_are_refused(ledger: Ledger, store: Store, quantities: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="a quantity from 0 on"):
        ledger.reserve(api_price("m", (1.0, 1.0)), "review", 1, *quantities)
    assert not table(store)


# -- the meter


def test_the_meter_settles_by_phase_and_reserves_ahead(ledger: Ledger, store: Store, clock: Clock) -> None:
    meter = GpuMeter(ledger, gpu_price(3.6, "H100"), "guard", 1, slice_s=60, every_s=5, seconds=clock.seconds)
    assert not meter.tick()
    meter.start()
    assert total(store) == Amount(0, 60_000)
    clock.pass_(3)
    assert not meter.tick("audit")  # at most one write in five seconds
    clock.pass_(4)
    assert meter.tick("responses")
    clock.pass_(100)  # no tick for longer than a slice
    meter.tick()
    with store.reader() as reader:
        found = spent(reader)
    assert found.by_phase == {
        "guard": Amount(3000, 0),
        "audit": Amount(4000, 0),
        "responses": Amount(100_000, 60_000),
    }
    clock.pass_(2)
    meter.stop()
    meter.stop()
    assert total(store) == Amount(109_000, 0)
    assert meter.used == 109
    assert [row["entry_id"] for row in table(store)] == [f"session-1/gpu/{n:06d}" for n in range(1, 5)]


def test_ticks_are_cheap(ledger: Ledger, clock: Clock) -> None:
    meter = GpuMeter(ledger, gpu_price(3.6, "H100"), "responses", 1, seconds=clock.seconds)
    meter.start()
    began = time.perf_counter()
    for _ in range(10_000):
        clock.pass_(1e-5)
        assert not meter.tick("responses")
    assert (time.perf_counter() - began) / 10_000 < 1e-4


def test_the_meter_as_a_context_writes_by_itself(store: Store) -> None:
    with Ledger(store, "run-a", "session-1", CAP) as ledger:
        began = time.monotonic()
        with GpuMeter(ledger, gpu_price(3600.0, "H100"), "training", 1, slice_s=5, every_s=0.05) as meter:
            while meter.used < 0.2:
                time.sleep(0.01)
            assert total(store).settled > 0  # written while the engine's thread was busy elsewhere
        took = time.monotonic() - began
    assert total(store).reserved == 0
    assert 0.2e6 <= total(store).settled <= took * 1e6 + 2


def test_readers_in_other_threads_see_whole_entries(store: Store, clock: Clock) -> None:
    prices = api_price("m", (1.0, 1.0))
    odd: list[int] = []
    ending = threading.Event()

    def read() -> None:
        with store.reader() as reader:
            while not ending.is_set():
                odd.extend(n for n in [spent(reader).all.total] if n % 20)

    with Ledger(store, "run-a", "session-1", CAP, clock) as ledger:
        readers = [threading.Thread(target=read) for _ in range(2)]
        for thread in readers:
            thread.start()

        def write() -> None:
            for _ in range(20):
                ledger.settle(ledger.reserve(prices, "review", 1, 10, 10), 10, 10)

        writers = [threading.Thread(target=write) for _ in range(2)]
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        ending.set()
        for thread in readers:
            thread.join()
    assert not odd
    assert total(store) == Amount(2 * 20 * 20, 0)


# -- what a session leaves open


def open_slice(store: Store, clock: Clock, session_id: str = "session-1") -> None:
    """A session with a slice of 60 s reserved, that is gone."""
    ledger = Ledger(store, "run-a", session_id, CAP, clock)
    GpuMeter(ledger, gpu_price(3.6, "H100"), "responses", 1, slice_s=60, seconds=clock.seconds).start()
    ledger.close()


@pytest.mark.parametrize(
    ("after", "seen", "settled"),
    [
        (600, None, 60_000),  # nobody knows how much of the slice was used: all of it counts
        (12, None, 12_000),  # no more than the time that has passed since
        (600, 20, 60_000),
        (600, 95, 95_000),  # it was seen at work long after its slice: never less than that
        (-30, None, 60_000),  # a clock that was set back
    ],
)
def test_a_slice_left_open(store: Store, clock: Clock, after: float, seen: float | None, settled: int) -> None:
    open_slice(store, clock)
    if seen is not None:
        store.append({"events": [rows.event(1, "Noted", {}, at=rows.T0 + timedelta(seconds=seen))]})
    clock.pass_(after)
    with Ledger(store, "run-a", "session-2", CAP, clock) as later:
        assert [row["micro_usd"] for row in later.settled_for_others] == [settled]
    assert total(store) == Amount(settled, 0)
    assert table(store)[0]["detail"] == "H100, left open by a session that ended"
    with store.reader() as reader:
        assert [row["detail"] for row in spent(reader).units] == ["H100"]
    assert settle_left_open(store, clock) == []


def test_a_call_left_open_counts_in_full(store: Store, clock: Clock) -> None:
    ledger = Ledger(store, "run-a", "session-1", CAP, clock)
    ledger.reserve(api_price("m", (1.0, 2.0)), "review", 1, 100, 50)
    ledger.close()
    clock.pass_(1)
    settle_left_open(store, clock)
    assert total(store) == Amount(200, 0)


def test_what_another_session_of_this_process_has_open_is_left_to_it(
    ledger: Ledger, store: Store, clock: Clock
) -> None:
    entry = ledger.reserve(api_price("m", (1.0, 2.0)), "review", 1, 100, 50)
    with Ledger(store, "run-b", "session-2", CAP, clock) as other:
        assert other.settled_for_others == []
    assert total(store) == Amount(0, 200)
    ledger.settle(entry, 1, 1)
    assert total(store) == Amount(3, 0)


# -- the cap


def test_warnings_come_once_for_each_share_and_cap(ledger: Ledger, store: Store, clock: Clock) -> None:
    api = api_price("m", (1.0, 1.0))

    def spend(usd: float) -> None:
        ledger.settle(ledger.reserve(api, "review", 1, usd * 1e6, 0), usd * 1e6, 0)

    spend(149.99)
    assert ledger.check() is None
    spend(0.01)
    assert ledger.check() == "50.0 % of the budget is spent or reserved: $150.00 of $300.00"
    assert ledger.check() is None
    with Ledger(store, "run-b", "session-2", CAP, clock, warn_at=(0.5, 0.8, 0.95)) as other:
        assert other.check() is None  # once for the store
        spend(140)
        assert "96.7 %" in (other.check() or "")  # two shares at once: one warning
    assert ledger.check() is None
    raise_cap(store, "run-a", 500, "the pilot was worth it", "person")
    assert "58.0 %" in (ledger.check() or "")  # half of another cap
    assert ledger.check() is None


def test_at_the_cap_it_ends(ledger: Ledger, store: Store, clock: Clock) -> None:
    gpu = gpu_price(3.6, "H100")
    meter = GpuMeter(ledger, gpu, "responses", 1, slice_s=60, seconds=clock.seconds)
    meter.start()
    clock.pass_(299.9e3 - 1)  # $299.90 less a millisecond's worth
    meter.tick()
    assert ledger.check() is not None
    clock.pass_(60)
    meter.tick()
    with pytest.raises(BudgetReached) as caught:  # the slice ahead does not fit any more
        ledger.check()
    assert caught.value.exit_code == 5
    assert "$300.0" in caught.value.title and "of $300.00" in caught.value.title
    assert "A person may raise it" in caught.value.hint
    meter.stop()  # what was used is written all the same
    assert total(store).settled == 299_959_000


def test_a_call_that_does_not_fit_is_not_made(ledger: Ledger, store: Store) -> None:
    api = api_price("m", (1.0, 1.0))
    ledger.reserve(api, "review", 1, 299_999_000, 0)
    with pytest.raises(BudgetReached, match="this call may cost"):
        ledger.reserve(api, "review", 1, 900, 101)
    assert len(table(store)) == 2
    ledger.reserve(api, "review", 1, 900, 100)


def test_without_a_cap_nothing_ends(store: Store, clock: Clock) -> None:
    with Ledger(store, "run-a", "session-1", None, clock, warn_at=(0.5,)) as ledger:
        ledger.reserve(api_price("m", (1.0, 1.0)), "review", 1, 1e12, 0)
        assert ledger.check() is None


def test_only_a_person_raises_the_cap(ledger: Ledger, store: Store, spec: StageSpec) -> None:
    ledger.reserve(api_price("m", (1.0, 1.0)), "review", 1, 250e6, 0)
    with store.reader() as reader:
        assert (cap_of(reader, spec), money_left(reader, spec)) == (CAP, 50.0)
        for usd, reason, by in (
            (400, "why not", "reviewer"), (400, "why not", "personality"), (400, " ", "person"), (300, "same", "person"),
            (10, "less", "person"), (math.nan, "odd", "person"), (math.inf, "odd", "person"),
        ):  # fmt: skip
            with pytest.raises(SpecError):
                raise_cap(store, "run-a", usd, reason, by)
        assert cap_of(reader, spec) == CAP
        row = raise_cap(store, "run-b", 400, "one more stage", "person: A. Turing")
        assert (cap_of(reader, spec), money_left(reader, spec)) == (400_000_000, 150.0)
        assert (row["topic"], row["decided_by"], row["reason"]) == ("budget", "person: A. Turing", "one more stage")
        assert "$300.00" in row["question"] and "$250.00" in row["question"]
        raise_cap(store, "run-a", 450.5, "and another", "person")
        assert cap_of(reader, spec) == 450_500_000
        assert len(reader.query("SELECT * FROM decisions")) == 2
        assert money_left(reader, spec.model_copy(update={"budget": None})) is None
    ledger.reserve(api_price("m", (1.0, 1.0)), "review", 1, 200e6, 0)  # the open ledger knows of it


def test_a_cap_that_is_passed_leaves_nothing(ledger: Ledger, store: Store, spec: StageSpec, clock: Clock) -> None:
    ledger.settle(ledger.reserve(gpu_price(3600, "H100"), "responses", 1, 400), 400)
    with store.reader() as reader:
        assert money_left(reader, spec) == 0.0


def test_a_check_takes_milliseconds(ledger: Ledger, store: Store) -> None:
    many = [ledger.rows(ledger.new_entry(gpu_price(1.0, "H100"), "p", 1), "settled", [1.0])[0] for _ in range(5000)]
    store.append({"ledger": many})
    ledger.check()
    took = []
    for _ in range(10):
        began = time.perf_counter()
        ledger.check()
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1


# -- storage


def test_storage_is_counted_from_the_last_time_on(ledger: Ledger, store: Store, clock: Clock) -> None:
    trainings = store.path.parent / "cai.trainings" / "run-a"
    trainings.mkdir(parents=True)
    (trainings / "adapter").write_bytes(bytes(2**20))
    (store.path.parent / "other").write_bytes(bytes(2**22))
    size = stored_bytes(store.path)
    assert 2**20 < size < 2**22 + 2**20
    prices = storage_price(730.0, "volume")  # a dollar a GiB-hour
    clock.pass_(7200)
    ledger.record_storage(prices, "all", 1)
    clock.pass_(3600)
    assert ledger.record_storage(prices, "all", 1) == pytest.approx(stored_bytes(store.path) / 2**30 * 1e6, rel=0.5)
    assert ledger.record_storage(prices, "all", 1) == 0
    hours = sum(row["quantity"] for row in table(store)) / (size / 2**30)
    assert hours == pytest.approx(3, rel=0.5)  # the file grows a little meanwhile
    assert all(row["unit"] == "gib_hour" and row["state"] == "settled" for row in table(store))
