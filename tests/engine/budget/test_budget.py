"""The ledger: exact sums, reserved before and settled after, through kills, up to the cap and no further."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

from engine.budget.ledger import Amount, Ledger, cap_of, money_left, raise_cap, settle_left_open, spent, stored_bytes
from engine.budget.meter import GpuMeter
from engine.budget.prices import api_price, api_prices, gpu_price, storage_price
from engine.core.errors import BudgetReached, SpecError
from engine.core.figures import booked as dollars
from engine.spec.stage import StageSpec, load_spec
from store.db import Store
from tests.store import rows

CAP = 300_000_000


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.at = rows.T0

    def __call__(self) -> datetime:
        return self.at

    def seconds(self) -> float:
        return (self.at - rows.T0).total_seconds()

    def pass_(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def spec() -> StageSpec:
    return load_spec("stage_1_small_model", {}).settings


@pytest.fixture
def store(tmp_path: Path, spec: StageSpec) -> Iterator[Store]:
    with Store.open(tmp_path / "cai.duckdb") as opened:
        opened.append({"runs": [rows.run(name, settings=spec.model_dump()) for name in ("run-a", "run-b")]})
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(store: Store, clock: Clock) -> Iterator[Ledger]:
    with Ledger(store, "run-a", "session-1", CAP, clock, warn_at=(0.5, 0.8, 0.95)) as opened:
        yield opened


def table(store: Store) -> list[dict[str, Any]]:
    with store.reader() as reader:
        return reader.query("SELECT * FROM ledger ORDER BY entry_id")


def total(store: Store) -> Amount:
    with store.reader() as reader:
        return spent(reader).all


# -- prices


def test_amounts_are_whole_millionths_rounded_up() -> None:
    assert api_price("gpt-5", (1.25, 10.0)).each[0].micro_usd(1_000_000) == 1_250_000
    assert api_price("gpt-5", (1.25, 10.0)).each[0].micro_usd(1) == 2  # 1.25
    assert gpu_price(2.49, "H100").each[0].micro_usd(3600) == 2_490_000
    assert gpu_price(2.49, "H100", devices=8).each[0].micro_usd(3600) == 19_920_000
    assert gpu_price(2.49, "H100").each[0].micro_usd(0) == 0
    # However a sum is cut into rows, each adds less than one millionth to it.
    price = gpu_price(0.79, "A40").each[0]
    assert 0 <= sum(price.micro_usd(second) for second in range(100)) - price.micro_usd(sum(range(100))) <= 100


def test_a_price_names_its_date_or_its_place() -> None:
    prices = api_price("gpt-5-2025-08-07")
    assert [(p.unit, p.usd) for p in prices.each] == [("input_token", 1.25e-6), ("output_token", 1e-5)]
    assert all("not checked" in p.priced_on and p.priced_on.startswith("20") for p in prices.each)
    assert "compare it" in prices.warning
    given = api_price("gpt-5", (3.0, 4.0), priced_on="invoice of May")
    assert given.each[1].priced_on == "invoice of May" and not given.warning
    assert gpu_price(2.0, "H100").each[0].priced_on == "configuration"


def test_an_unknown_price_is_not_guessed(ledger: Ledger, store: Store) -> None:
    prices = api_price("gpt-5-turbo-pro-2027-01-01")
    assert "no price of the model gpt-5-turbo-pro-2027-01-01" in prices.warning
    ledger.settle(ledger.reserve(prices, "review", 1, 500, 900), 480, 300)
    assert [(row["micro_usd"], row["quantity"], row["priced_on"]) for row in table(store)] == [
        (0, 480, "no price known"),
        (0, 300, "no price known"),
    ]
    assert "no price of a GPU hour" in gpu_price(None, "H100").warning
    assert storage_price(None, "volume").warning


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, "2", True])
def test_a_price_that_is_none_is_refused(bad: Any) -> None:
    for make in (lambda: gpu_price(bad, "H100"), lambda: api_price("m", (bad, 1.0)), lambda: storage_price(bad, "v")):
        with pytest.raises(SpecError, match="must be a number of dollars"):
            make()


def test_own_prices_lie_over_the_shipped_ones(tmp_path: Path) -> None:
    own = tmp_path / "prices.json"
    own.write_text('{"gpt-5": {"input_usd_per_million": 9, "output_usd_per_million": 8, "as_of": "today"}}')
    found = api_prices(own)
    prices = api_price("gpt-5", table=found)
    assert [p.usd for p in prices.each] == [9e-6, 8e-6] and not prices.warning
    assert "gpt-4o" in found
    for text in ("[", '{"m": {"input_usd_per_million": 1}}', '{"m": 3}', '["gpt-5"]'):
        own.write_text(text)
        with pytest.raises(SpecError, match="cannot be read"):
            api_prices(own)


def test_the_shipped_prices_are_marked_as_not_checked() -> None:
    for model, row in api_prices().items():
        assert row["input_usd_per_million"] < row["output_usd_per_million"], model
        assert row["as_of"] and row["checked"] is False


def test_small_amounts_are_shown() -> None:
    assert [dollars(n) for n in (0, 125, 9_999, 10_000, 1_234_567_890)] == [
        "$0.00", "$0.000125", "$0.009999", "$0.01", "$1,234.57",
    ]  # fmt: skip


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


# -- ten kills


# Sessions of a run on a time of its own, each a process. What it really uses is forced to disk in a side file before the
# ledger is told of it, and it ends at a random moment: before or after any write of the ledger, or between two.
SESSIONS = """
import json, os, random, sys
from datetime import timedelta
from pathlib import Path
from tests.store import rows
from engine.budget.ledger import Ledger
from engine.budget.meter import GpuMeter
from engine.budget.prices import api_price, gpu_price
from store.db import Store

path, side = Path(sys.argv[1]), Path(sys.argv[2])

def session(number, now, left):
    rng = random.Random(number)
    out = side.open("a")

    def step():
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(9)

    def really(**used):
        out.write(json.dumps(used | {"now": now, "session": f"session-{number}"}) + "\\n")
        out.flush()
        os.fsync(out.fileno())

    def guarded(write):
        def inner(given):
            step()
            write(given)
            step()
        return inner

    store = Store.open(path)
    store.append, store.put = guarded(store.append), guarded(store.put)
    gpu, api = gpu_price(2.49, "H100"), api_price("gpt-5", (1.25, 10.0))
    with Ledger(store, "run-a", f"session-{number}", None, lambda: rows.T0 + timedelta(seconds=now)) as ledger:
        meter = GpuMeter(ledger, gpu, "load", 1, slice_s=60, every_s=5, seconds=lambda: now)
        meter.start()
        for turn in range(40):
            passed = rng.choice([0.3, 2.0, 7.0, 31.0])
            now += passed
            really(gpu=passed)
            step()
            meter.tick(rng.choice(["responses", "responses", "judgements"]))
            if rng.random() < 0.4:
                most = rng.randrange(100, 3000)
                entry = ledger.reserve(api, "review", 1, most, most)
                used = [rng.randrange(1, most), rng.randrange(1, most)]
                really(input=used[0], output=used[1])
                step()
                ledger.settle(entry, *used)
        meter.stop()
    store.close()

killed, number, rng = [], 0, random.Random(5)
while len(killed) < 10 or number % 3:
    now = json.loads(side.read_text().splitlines()[-1])["now"] if side.exists() and side.stat().st_size else 0.0
    kill = len(killed) < 10 and number % 5 != 2  # now and then one is left to end by itself
    pid = os.fork()
    if not pid:
        session(number, now + rng.choice([0.0, 20.0, 400.0]), rng.randrange(1, 120) if kill else -1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9), code
    killed += [f"session-{number}"] if code else []
    rng.random()
    number += 1
print(json.dumps([killed, number]))
"""


def test_a_run_that_is_killed_ten_times_reconciles(tmp_path: Path, spec: StageSpec) -> None:
    path, side = tmp_path / "cai.duckdb", tmp_path / "used.jsonl"
    with Store.open(path) as store:
        store.append({"runs": [rows.run(settings=spec.model_dump())]})
    done = subprocess.run(
        [sys.executable, "-c", SESSIONS, str(path), str(side)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'store'}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    killed, sessions = json.loads(done.stdout)
    assert len(killed) == 10 and sessions >= 12
    with Store.open(path) as store:
        settle_left_open(store, lambda: rows.T0 + timedelta(days=1))
        found, told = table(store), total(store)
    assert told == Amount(sum(row["micro_usd"] for row in found), 0)  # nothing is left open

    def really(used: list[dict[str, Any]]) -> dict[str, float]:
        units = {name: sum(row.get(name, 0) for row in used) for name in ("gpu", "input", "output")}
        return {"gpu": units["gpu"] * 2.49 / 3600 * 1e6, "api": units["input"] * 1.25 + units["output"] * 10.0}

    used = [json.loads(line) for line in side.read_text().splitlines()]
    at_most = {"gpu": 60 * 2.49 / 3600 * 1e6, "api": 3000 * 11.25}  # one slice, one call
    left_open = 0
    for number in range(sessions):
        name = f"session-{number}"
        for kind, spent_ in really([row for row in used if row["session"] == name]).items():
            mine = [row for row in found if row["session_id"] == name and row["kind"] == kind]
            above = sum(row["micro_usd"] for row in mine) - spent_
            if name in killed:
                assert -1e-6 <= above <= at_most[kind] + len(mine), (name, kind)
                left_open += kind == "api" and any("left open" in row["detail"] for row in mine)
            else:  # to the cent, and closer: a millionth for each row
                assert -1e-6 <= above <= len(mine), (name, kind)
    assert left_open >= 2  # calls were killed between reserve and settle, too
    really_all = sum(really(used).values())
    assert 0 <= told.total - really_all <= 10 * sum(at_most.values()) + len(found)
    # What is above is just what had been set aside by sessions that were killed, less what they used of it.
    open_ = [row for row in found if "left open" in row["detail"]]
    assert {row["session_id"] for row in open_} <= set(killed)
    assert told.total - really_all <= sum(row["micro_usd"] for row in open_) + len(found)


# The real clock, and a kill that nothing in the process can foresee.
WORKER = """
import sys, time
from pathlib import Path
from engine.budget.ledger import Ledger
from engine.budget.meter import GpuMeter
from engine.budget.prices import gpu_price
from store.db import Store
with Store.open(Path(sys.argv[1])) as store, Ledger(store, "run-a", "session-1", None) as ledger:
    began = time.time()
    with GpuMeter(ledger, gpu_price(3600, "H100"), "responses", 1, slice_s=2, every_s=0.1):
        print(began, flush=True)
        time.sleep(60)
"""


def test_kill_9_on_the_real_clock(tmp_path: Path, spec: StageSpec) -> None:
    path = tmp_path / "cai.duckdb"
    with Store.open(path) as store:
        store.append({"runs": [rows.run(settings=spec.model_dump())]})
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path)], env=environment, text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    began = float(process.stdout.readline())
    time.sleep(0.7)
    process.kill()
    process.communicate()
    used = time.time() - began
    time.sleep(0.1)
    with Store.open(path) as store, Ledger(store, "run-a", "session-2", None):
        found = total(store)
    assert found.reserved == 0
    assert (used - 0.05) * 1e6 <= found.total <= (used + 2) * 1e6 + 2
    assert used > 0.7
