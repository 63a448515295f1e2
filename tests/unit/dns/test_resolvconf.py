"""resolv.conf as glibc reads it, and followed on disk."""

import pytest

from towline.dns.resolvconf import ResolvConf, ResolvConfFile, parse
from towline.wire.dns import Name


def names(*texts):
    return tuple(map(Name.of, texts))


def test_usual_file():
    conf = parse(
        "# made by hand\n"
        "; and so on\n"
        "search corp.example  example\n"
        "nameserver 192.0.2.1\n"
        "nameserver 2001:db8::1\n"
        "nameserver\tfe80::1%eth0\n"
        "options ndots:2 timeout:3 attempts:4 rotate edns0\n"
    )

    assert conf == ResolvConf(
        nameservers=("192.0.2.1", "2001:db8::1", "fe80::1%eth0"),
        search=names("corp.example", "example"),
        ndots=2,
        timeout=3,
        attempts=4,
        rotate=True,
    )


@pytest.mark.parametrize("text", ["", "\n\n", "nonsense\nsearch\nnameserver\noptions\n"])
def test_file_that_says_nothing_means_the_defaults(text):
    assert parse(text) == ResolvConf(nameservers=("127.0.0.1",), ndots=1, timeout=5, attempts=2)


def test_no_more_than_three_nameservers_are_used_and_only_addresses():
    text = "".join(f"nameserver {host}\n" for host in ("dns.example", "::1", "10.0.0.1 # x"))
    text += "nameserver 10.0.0.2\nnameserver 10.0.0.3\n"

    assert parse(text).nameservers == ("::1", "10.0.0.1", "10.0.0.2")


def test_no_address_in_particular_is_this_machine():
    conf = parse("nameserver 0.0.0.0\nnameserver ::\n")

    assert conf.nameservers == ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("search a b\nsearch c", names("c")),
        ("domain a\nsearch b c", names("b", "c")),
        ("search b c\ndomain a x", names("a")),
        ("search . a..b corp.example.", names("corp.example")),
        (" search indented", ()),
    ],
)
def test_last_search_list_counts(text, search):
    assert parse(text).search == search


def test_search_list_is_the_hosts_domain_unless_given():
    assert parse("", hostname="laptop.corp.example").search == names("corp.example")
    assert parse("", hostname="laptop").search == ()
    assert parse("search a", hostname="laptop.corp.example").search == names("a")


def test_options_are_kept_in_their_limits_and_accumulate():
    conf = parse("options ndots:99 timeout:0 attempts:0\noptions ndots:x timeout:999 foo:3")

    assert (conf.ndots, conf.timeout, conf.attempts) == (15, 30, 1)


def test_file_is_followed_when_it_is_replaced_or_gone(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    file = ResolvConfFile(path)
    assert file.current().nameservers == ("192.0.2.1",)
    assert file.current() is file.current()

    new = tmp_path / "new"
    new.write_text("nameserver 192.0.2.2\n")
    new.replace(path)
    assert file.current().nameservers == ("192.0.2.2",)

    path.unlink()
    assert file.current().nameservers == ("127.0.0.1",)

    path.write_bytes(b"nameserver 192.0.2.3\nsearch \xff\xfe\n")
    assert file.current().nameservers == ("192.0.2.3",)
