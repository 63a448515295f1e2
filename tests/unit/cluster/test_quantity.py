"""Quantities are what Kubernetes takes for them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.cluster.quantity import Amount, cpu, memory, parse
from towline.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0.5", Decimal("0.5")),
        (".5", Decimal("0.5")),
        ("100m", Decimal("0.1")),
        ("1k", 1000),
        ("1Ki", 1024),
        ("512Mi", 512 * 1024**2),
        ("1.5Gi", Decimal("1.5") * 1024**3),
        ("1e3", 1000),
        ("2E", 2 * 10**18),
        ("2E2", 200),
        ("1Ei", 1024**6),
    ],
)
def test_quantity_stands_for_a_number(text: str, value: Decimal) -> None:
    assert parse(text) == value


@given(st.text(alphabet="0123456789.+-emEkKMGi ,", max_size=6))
def test_what_is_no_quantity_is_none(text: str) -> None:
    value = parse(text)
    assert value is None or value >= 0


def test_one_value_is_asked_for_and_the_limit() -> None:
    assert cpu("500m") == Amount("500m", "500m")
    assert memory("64Mi:1Gi") == Amount("64Mi", "1Gi")


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1:", ":1", "2:1", "1:1:1", "0.5c"])
def test_cpu_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--cpu"):
        cpu(text)


@pytest.mark.parametrize("text", ["512m", "1", "16Mi", "1Gi:512Mi", "512MB"])
def test_memory_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        memory(text)
