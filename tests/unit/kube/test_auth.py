from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.errors import ConfigError
from towline.kube import auth
from towline.kube.auth import Credential, credentials, expired_since, impersonation_headers
from towline.kube.config import Access, ExecPlugin, Impersonation, Pem, User

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def access(user: User, server: str = "https://k") -> Access:
    return Access(server=server, namespace="default", context="c", source="/k", user=user)


async def test_a_token_is_a_bearer() -> None:
    found = await credentials(access(User(token="t"))).get()

    assert found == Credential(authorization="Bearer t")


async def test_a_password_is_basic() -> None:
    found = await credentials(access(User(username="me", password="p:ü"))).get()

    scheme, value = found.authorization.split()
    assert scheme == "Basic"
    assert base64.b64decode(value).decode() == "me:p:ü"


async def test_nothing_is_shown_to_a_server_without_tls() -> None:
    found = await credentials(access(User(token="t", username="me"), "http://k")).get()

    assert found == Credential()


async def test_a_certificate_and_a_token_go_together() -> None:
    user = User(token="t", certificate=Pem(data=b"crt"), key=Pem(data=b"key"))

    assert await credentials(access(user)).get() == Credential("Bearer t", b"crt", b"key")


async def test_a_plugin_is_not_run_beside_another_credential() -> None:
    plugin = ExecPlugin("/does/not/exist", interactive_mode="Never")

    assert await credentials(access(User(token="t", exec=plugin))).get() == Credential("Bearer t")


async def test_a_static_credential_stays_the_same_when_refused() -> None:
    source = credentials(access(User(token="t")))
    refused = await source.get()

    assert await source.refresh(refused) == refused


async def test_a_certificate_file_is_read_again_when_refused(tmp_path: Path) -> None:
    path = tmp_path / "me.pem"
    path.write_bytes(b"old")
    source = credentials(access(User(certificate=Pem(file=path), key=Pem(file=path))))
    refused = await source.get()
    path.write_bytes(b"new")

    assert (await source.get()).certificate == b"old"
    assert (await source.refresh(refused)).certificate == b"new"
    assert (await source.get()).certificate == b"new"


async def test_a_token_file_is_read_again_every_minute(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "token"
    path.write_text("one\n")
    source = auth._FromConfig(User(token_file=path), clock)
    assert await source.get() == Credential("Bearer one")
    path.write_text("two")

    clock.now += auth.TOKEN_FILE_SECONDS - 1
    assert await source.get() == Credential("Bearer one")
    clock.now += 1
    assert await source.get() == Credential("Bearer two")


async def test_a_token_file_is_read_again_at_once_when_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    source = auth._FromConfig(User(token_file=path), Clock())
    refused = await source.get()
    path.write_text("two")

    assert await source.refresh(refused) == Credential("Bearer two")


async def test_a_token_file_comes_before_the_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("from the file")
    source = credentials(access(User(token="from the config", token_file=path)))

    assert await source.get() == Credential("Bearer from the file")


async def test_a_token_file_that_is_lost_leaves_the_last_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    source = auth._FromConfig(User(token_file=path), Clock())
    refused = await source.get()
    path.unlink()

    assert await source.refresh(refused) == Credential("Bearer one")


async def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = credentials(access(User(token_file=tmp_path / "token")))

    with pytest.raises(ConfigError, match=f"{tmp_path / 'token'} .*cannot be read"):
        await source.get()


def test_impersonation_headers_repeat_and_are_escaped() -> None:
    wanted = Impersonation("jane", groups=("a", "b"), extra=(("x/y z%", ("1", "2")),))

    assert impersonation_headers(wanted) == [
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-x%2Fy%20z%25", "1"),
        ("Impersonate-Extra-x%2Fy%20z%25", "2"),
    ]
    assert impersonation_headers(None) == []


def jwt(claims: object) -> Credential:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return Credential(f"Bearer e30.{body}.c2ln")


def test_an_expired_token_tells_since_when() -> None:
    assert expired_since(jwt({"exp": 1000}), 1060.0) == 60.0
    assert expired_since(jwt({"exp": 1000}), 999.0) is None


@pytest.mark.parametrize(
    "credential",
    [Credential(), Credential("Bearer opaque"), Credential("Bearer a.b.c"), jwt([]), jwt({})],
)
def test_what_is_no_token_with_an_expiry_has_not_expired(credential: Credential) -> None:
    assert expired_since(credential, 1e12) is None


@given(st.text())
def test_any_authorization_can_be_asked_for_its_expiry(text: str) -> None:
    expired_since(Credential(text), 0.0)
    expired_since(Credential(f"Bearer a.{text}.c"), 0.0)
