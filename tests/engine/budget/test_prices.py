"""What a price is: whole millionths, with its date or its place, and never guessed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engine.budget.ledger import Ledger
from engine.budget.prices import api_price, api_prices, gpu_price, storage_price
from engine.core.errors import SpecError
from engine.core.figures import booked as dollars
from store.db import Store
from tests.engine.budget.conftest import table


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
    assert "no price set" in gpu_price(None, "H100").warning
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
