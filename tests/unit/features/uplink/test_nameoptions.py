"""How users write domains."""

import pytest

from towline.errors import UsageError
from towline.features.uplink.nameoptions import suffix, suffixes


@pytest.mark.parametrize(
    "text",
    ["corp.internal", "corp.internal.", ".corp.internal", "*.corp.internal", "CORP.internal"],
)
def test_domain_may_be_written_as_other_tools_do(text):
    assert str(suffix(text)).lower() == "corp.internal"


def test_several_domains_may_stand_together():
    found = suffixes(["a.internal, b.internal", "77.10.in-addr.arpa"])

    assert [str(name) for name in found] == ["a.internal", "b.internal", "77.10.in-addr.arpa"]


def test_domain_of_other_letters_is_asked_for_as_it_is_registered():
    assert str(suffix("bücher.example")) == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text", ["", ".", "*", "a..b", "x" * 64, "*.*.corp", "a.*", ".".join(["abcdefgh"] * 32), "\\"]
)
def test_what_is_no_domain_is_refused(text):
    with pytest.raises(UsageError, match="no domain"):
        suffix(text)
