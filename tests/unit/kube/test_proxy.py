from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.errors import ConfigError
from towline.kube.proxy import proxy_for, without_password

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("server", "environ", "proxy"),
    [
        ("https://k.example", {}, ""),
        ("https://k.example", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://k.example", {"https_proxy": PROXY}, PROXY),
        ("https://k.example", {"HTTPS_PROXY": "http://a", "https_proxy": "http://b"}, "http://a"),
        ("https://k.example", {"HTTPS_PROXY": "proxy:3128"}, PROXY),
        ("https://k.example", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, ""),
        ("http://k.example", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://k.example", {"HTTPS_PROXY": PROXY}, ""),
        ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, ""),
        ("https://127.0.0.9:6443", {"HTTPS_PROXY": PROXY}, ""),
        ("https://[::1]:6443", {"HTTPS_PROXY": PROXY}, ""),
    ],
)
def test_proxy_variables_mean_what_they_mean_to_go(
    server: str, environ: dict[str, str], proxy: str
) -> None:
    assert proxy_for(server, environ) == proxy


@pytest.mark.parametrize(
    ("rules", "server", "direct"),
    [
        ("*", "https://k.example", True),
        ("example", "https://k.example", True),
        ("k.example", "https://k.example", True),
        ("K.Example", "https://k.example", True),
        ("k.example", "https://k.example.", True),
        ("ample", "https://k.example", False),
        (".example", "https://k.example", True),
        (".k.example", "https://k.example", False),
        ("*.example", "https://k.example", True),
        ("a.b, k.example", "https://k.example", True),
        ("k.example:6443", "https://k.example:6443", True),
        ("k.example:443", "https://k.example", True),
        ("k.example:443", "https://k.example:6443", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://k.example", False),
        ("10.1.2.3", "https://10.1.2.3:6443", True),
        ("10.1.2.3:443", "https://10.1.2.3:6443", False),
        ("fd00::/8", "https://[fd00::1]:6443", True),
        ("fd00::1", "https://[fd00:0::1]:6443", True),
        ("[fd00::1]:6443", "https://[fd00::1]:6443", True),
        ("not/a/network", "https://10.1.2.3", False),
        (",,", "https://k.example", False),
    ],
)
def test_no_proxy_rules_mean_what_they_mean_to_go(rules: str, server: str, direct: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": rules}

    assert proxy_for(server, environ) == ("" if direct else PROXY)


def test_a_socks_proxy_is_an_error_without_the_password() -> None:
    with pytest.raises(ConfigError) as caught:
        proxy_for("https://k.example", {"HTTPS_PROXY": "socks5://me:secret@proxy"})

    assert "socks5://proxy" in caught.value.summary
    assert "secret" not in caught.value.summary
    assert "NO_PROXY" in caught.value.hint


@given(rules=st.text(), host=st.from_regex(r"[a-z0-9.:/*\[\]-]{1,20}", fullmatch=True))
def test_any_rules_are_taken(rules: str, host: str) -> None:
    for server in ("https://k.example:6443", "https://10.0.0.1", "https://[fd00::1]"):
        environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": f"{rules},{host}"}
        assert proxy_for(server, environ) in ("", PROXY)


@given(user=st.from_regex(r"[a-z]+(:[a-z]+)?@|", fullmatch=True))
def test_without_password_has_neither_user_nor_password(user: str) -> None:
    shown = without_password(f"http://{user}proxy:3128/x")

    assert shown == "http://proxy:3128/x"
    assert urlsplit(shown).username is None
