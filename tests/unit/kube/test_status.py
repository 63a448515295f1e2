from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.kube.status import Cause, Status, parse_status, status_of


def test_a_status_is_read_with_its_details() -> None:
    body = {
        "kind": "Status",
        "reason": "Invalid",
        "message": "no",
        "code": 422,
        "details": {
            "kind": "pods",
            "name": "a",
            "retryAfterSeconds": 3,
            "causes": [{"reason": "FieldValueRequired", "field": "f", "message": "m"}],
        },
    }

    status = parse_status(500, json.dumps(body).encode(), {})

    assert status == Status(
        422, "Invalid", "no", "pods", "a", (Cause("FieldValueRequired", "f", "m"),), 3.0
    )
    assert status.has_cause("FieldValueRequired")
    assert not status.has_cause("Other")


def test_retry_after_of_the_header_comes_first() -> None:
    body = {"kind": "Status", "details": {"retryAfterSeconds": 3}}

    assert parse_status(429, json.dumps(body).encode(), {"Retry-After": "7"}).retry_after == 7.0


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan", "inf", ""])
def test_a_retry_after_that_is_no_time_is_ignored(value: str) -> None:
    assert parse_status(429, b"", {"Retry-After": value}).retry_after is None


def test_a_page_of_html_is_cut_short() -> None:
    status = parse_status(502, b"<html>\n\n  bad   gateway " + b"x" * 10_000, {})

    assert status.message.startswith("<html> bad gateway xxx")
    assert len(status.message) <= 201
    assert status.code == 502


@given(code=st.integers(300, 599), body=st.binary())
def test_any_body_gives_a_status(code: int, body: bytes) -> None:
    assert parse_status(code, body, {}).code == code


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
_KEYS = st.sampled_from(["code", "reason", "message", "details"])


@given(st.dictionaries(_KEYS, _JSON | st.fixed_dictionaries({"causes": _JSON, "kind": _JSON})))
def test_any_json_gives_a_status(value: dict[str, Any]) -> None:
    status = status_of(value)

    assert isinstance(status.code, int)
    assert isinstance(status.message, str)
    assert all(isinstance(cause, Cause) for cause in status.causes)
