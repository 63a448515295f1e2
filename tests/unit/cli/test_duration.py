import contextlib
from datetime import timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.cli.duration import parse


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("0s", 0)]
)
def test_number_and_unit(text: str, seconds: int) -> None:
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "m", "1.5h", "-1d", "1h30m", "1w", " 1d", "٣d", "1d\n"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="10m"):
        parse(text)


@given(st.text() | st.from_regex(r"[0-9]+[a-z]", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(click.BadParameter):
        assert parse(text) >= timedelta(0)
