"""The policy's rules, each by what is to be asked for a name."""

import ipaddress

import pytest

from tests.unit.dns.fakedns import POD_RESOLV_CONF
from towline.dns.policy import (
    DEFAULT_DOMAIN,
    UPSTREAM,
    ClusterNames,
    Policy,
    addresses,
    lifetimes,
    reverse_address,
)
from towline.wire.dns import Message, Name, Question, Record, Type

CLUSTER_NET = ipaddress.ip_network("10.96.0.0/12")


def plan(name, *, laptop_search=(), inside=(), outside=(), rclass=1, conf=POD_RESOLV_CONF):
    policy = Policy(
        ClusterNames.of_pod(
            conf, "default", inside=map(Name.of, inside), outside=map(Name.of, outside)
        ),
        in_ranges=lambda address: address.version == 4 and address in CLUSTER_NET,
        laptop_search=lambda: tuple(Name.of(text) for text in laptop_search),
    )
    return policy.plan(Question(Name.of(name), Type.A, rclass))


def asked(name, **options):
    return [str(candidate.name) for candidate in plan(name, **options).candidates]


def gates(name, **options):
    return [
        None if candidate.gate is None else str(candidate.gate)
        for candidate in plan(name, **options).candidates
    ]


@pytest.mark.parametrize(
    "name",
    ["web.default.svc.cluster.local", "nope.cluster.local", "cluster.local", "a.CLUSTER.local"],
)
def test_name_under_the_domain_is_asked_in_the_cluster_alone(name):
    assert asked(name) == [name]
    assert gates(name) == [None]
    assert not plan(name).upstream


def test_single_label_is_tried_with_the_whole_search_list():
    assert asked("web") == [
        "web.default.svc.cluster.local",
        "web.svc.cluster.local",
        "web.cluster.local",
    ]
    assert gates("web") == asked("web")
    assert plan("web").upstream
    assert not plan("web").shared


def test_a_namespace_found_for_a_single_label_is_a_container():
    assert [candidate.container for candidate in plan("web").candidates] == [False, True, False]


def test_several_labels_are_gated_by_their_last():
    assert asked("pod-0.db") == [
        "pod-0.db.default.svc.cluster.local",
        "pod-0.db.svc.cluster.local",
        "pod-0.db.cluster.local",
    ]
    assert gates("pod-0.db") == [
        "db.default.svc.cluster.local",
        "db.svc.cluster.local",
        "db.cluster.local",
    ]
    assert plan("pod-0.db").upstream
    assert plan("pod-0.db").shared


def test_names_outside_of_one_domain_share_their_gates():
    assert gates("www.google.com") == gates("github.com")


@pytest.mark.parametrize("name", ["web.other.svc", "1-2-3-4.other.pod", "_http._tcp.a.b.c.d.e.svc"])
def test_names_that_end_in_a_subdomain_are_the_clusters_alone(name):
    assert asked(name)[-1] == f"{name}.cluster.local"
    assert gates(name)[-1] is None
    assert not plan(name).upstream


def test_names_with_as_many_dots_as_ndots_are_not_searched():
    assert plan("a.b.c.d.e.f") == UPSTREAM
    assert asked("a.b.c.d.e") != []


@pytest.mark.parametrize(
    "name", [".", "localhost", "db.localhost", "local", "printer.local", "x.invalid", "home.arpa"]
)
def test_names_of_the_machine_and_its_link_go_upstream(name):
    assert plan(name) == UPSTREAM
    assert plan(name, laptop_search=["local", "arpa", "invalid"]) == UPSTREAM


def test_other_classes_than_internet_go_upstream():
    assert plan("version.bind", rclass=3) == UPSTREAM


def test_excluded_names_go_upstream_with_all_below():
    assert plan("api.corp.example", outside=["corp.example"]) == UPSTREAM
    assert plan("corp.example", outside=["corp.example"]) == UPSTREAM
    assert plan("example", outside=["corp.example"]) != UPSTREAM


@pytest.mark.parametrize("name", ["db.corp.internal", "a.b.c.d.e.f.corp.internal", "CORP.internal"])
def test_names_of_a_further_domain_are_asked_in_the_cluster_alone(name):
    found = plan(name, inside=["corp.internal"])

    assert asked(name, inside=["corp.internal"]) == [name]
    assert not found.upstream


@pytest.mark.parametrize("name", ["internal", "corp.example", "mycorp.internal", "corp.internal.x"])
def test_further_domain_has_no_names_but_those_below_it(name):
    assert plan(name, inside=["corp.internal"]) == plan(name)


def test_longest_suffix_decides_whose_a_name_is():
    rules = {"inside": ["internal", "in.vpn.internal"], "outside": ["vpn.internal"]}

    assert asked("db.internal", **rules) == ["db.internal"]
    assert plan("db.vpn.internal", **rules) == UPSTREAM
    assert asked("db.in.vpn.internal", **rules) == ["db.in.vpn.internal"]


def test_host_that_is_needed_for_the_link_stays_outside_of_a_further_domain():
    rules = {"inside": ["corp.internal"], "outside": ["corp.internal", "api.corp.internal"]}

    assert plan("api.corp.internal", **rules) == UPSTREAM
    assert plan("corp.internal", **rules) == UPSTREAM


def test_reverse_names_can_be_a_further_domain():
    assert plan("7.0.77.10.in-addr.arpa") == UPSTREAM
    assert asked("7.0.77.10.in-addr.arpa", inside=["77.10.in-addr.arpa"]) == [
        "7.0.77.10.in-addr.arpa"
    ]


def test_further_domains_name_with_the_laptops_suffix_comes_after_upstream():
    options = {"inside": ["corp.internal"], "laptop_search": ["lab.example"]}

    assert late("db.corp.internal.lab.example", **options) == ["db.corp.internal"]
    assert plan("db.corp.internal.lab.example", **options).upstream


def late(name, **options):
    return [str(candidate.name) for candidate in plan(name, **options).late]


@pytest.mark.parametrize("name", ["web", "web.other"])
def test_what_a_name_is_without_the_laptops_suffix_comes_after_upstream(name):
    found = plan(f"{name}.corp.example", laptop_search=["corp.example"])

    assert late(f"{name}.corp.example", laptop_search=["corp.example"]) == asked(name)
    assert asked(f"{name}.corp.example", laptop_search=["corp.example"]) == asked(
        f"{name}.corp.example"
    )
    assert found.upstream
    assert found.shared


@pytest.mark.parametrize("ndots", [1, 2])
def test_name_that_a_pod_asks_for_as_it_is_is_the_clusters_after_upstream(ndots):
    conf = POD_RESOLV_CONF.replace("ndots:5", f"ndots:{ndots}")
    found = plan("db-0.db.other-ns", conf=conf)

    assert found.candidates == ()
    assert found.late == plan("db-0.db.other-ns").candidates
    assert found.upstream
    assert plan("web", conf=conf) == plan("web")
    assert plan("web.other.svc", conf=conf) == plan("web.other.svc")


def test_excluded_host_is_left_out_with_the_laptops_suffix_too():
    options = {"outside": ["proxy"], "laptop_search": ["corp.example"]}

    assert plan("proxy", **options) == UPSTREAM
    assert plan("proxy.corp.example", **options) == UPSTREAM


def test_laptop_suffix_alone_is_a_name_like_any_other():
    assert asked("corp.example", laptop_search=["corp.example"]) == asked("corp.example")


def test_laptop_suffix_after_a_full_name_of_the_cluster_leaves_it_the_clusters():
    found = plan("x.default.svc.cluster.local.corp.example", laptop_search=["corp.example"])

    assert [str(candidate.name) for candidate in found.candidates] == [
        "x.default.svc.cluster.local"
    ]
    assert not found.upstream


def test_laptop_suffix_does_not_lead_localhost_to_the_cluster():
    names = asked("localhost.corp.example", laptop_search=["corp.example"])

    assert names == asked("localhost.corp.example")


def test_name_too_long_for_a_search_suffix_is_not_tried_with_it():
    label = "a" * 60
    assert asked(f"{label}.{label}.{label}.{'b' * 55}") == [
        f"{label}.{label}.{label}.{'b' * 55}.cluster.local"
    ]


def test_reverse_names_of_the_clusters_addresses_are_asked_in_the_cluster():
    assert asked("1.0.96.10.in-addr.arpa") == ["1.0.96.10.in-addr.arpa"]
    assert not plan("1.0.96.10.in-addr.arpa").upstream
    assert plan("1.0.168.192.in-addr.arpa") == UPSTREAM
    assert plan("96.10.in-addr.arpa") == UPSTREAM


@pytest.mark.parametrize("address", ["10.96.0.1", "0.0.0.0", "fd00:96::1", "::", "2001:db8::a:b"])
def test_reverse_name_of_an_address_is_read(address):
    expected = ipaddress.ip_address(address)

    assert reverse_address(Name.of(expected.reverse_pointer)) == expected
    assert reverse_address(Name.of(expected.reverse_pointer.upper())) == expected


@pytest.mark.parametrize(
    "name",
    [
        "web.default",
        "in-addr.arpa",
        "0.96.10.in-addr.arpa",
        "x.0.96.10.in-addr.arpa",
        "1.1.0.96.10.in-addr.arpa",
        "256.0.96.10.in-addr.arpa",
        "ip6.arpa",
        "1.0.ip6.arpa",
        ".".join("0" * 31 + "g") + ".ip6.arpa",
        ".".join("0" * 33) + ".ip6.arpa",
        ".".join("ab" for _ in range(16)) + ".ip6.arpa",
        "ab." + ".".join("0" * 31) + ".ip6.arpa",
        "\\255.0.96.10.in-addr.arpa",
    ],
)
def test_other_names_are_the_reverse_of_nothing(name):
    assert reverse_address(Name.of(name)) is None


def test_search_list_of_the_pod_without_what_its_node_added():
    names = ClusterNames.of_pod(
        "search a.svc.k8s.corp svc.k8s.corp k8s.corp ec2.internal\noptions ndots:3", "a"
    )

    assert str(names.domain) == "k8s.corp"
    assert [str(name) for name in names.search] == ["a.svc.k8s.corp", "svc.k8s.corp", "k8s.corp"]
    assert names.ndots == 3


def test_domain_that_is_given_is_believed_before_the_pods():
    conf = "search dev.svc.cluster.local svc.cluster.local cluster.local"
    names = ClusterNames.of_pod(conf, "dev", domain=Name.of("k8s.corp"))

    assert str(names.domain) == "k8s.corp"
    assert [str(name) for name in names.search] == ["dev.svc.k8s.corp", "svc.k8s.corp", "k8s.corp"]


@pytest.mark.parametrize("conf", ["", "nameserver 10.0.0.1\n", "search corp.example\n"])
def test_pod_that_does_not_use_the_clusters_dns_means_the_default_domain(conf):
    names = ClusterNames.of_pod(conf, "dev")

    assert names.domain == DEFAULT_DOMAIN
    assert [str(name) for name in names.search] == [
        "dev.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
    ]


def test_domain_is_read_from_the_shorter_search_entry_too():
    assert str(ClusterNames.of_pod("search svc.k8s.corp", "dev").domain) == "k8s.corp"


def test_addresses_of_a_reply_are_those_of_its_records_once_each():
    owner = Name.of("web")
    message = Message(
        1,
        answers=(
            Record(owner, Type.A, 1, 5, b"\x0a\0\0\1"),
            Record(owner, Type.A, 1, 5, b"\x0a\0\0\1"),
            Record(owner, Type.AAAA, 1, 5, b"\xfd" + b"\0" * 15),
            Record(owner, Type.A, 1, 5, b"\x0a\0\0"),
            Record(owner, Type.A, 3, 5, b"\x0a\0\0\2"),
            Record(owner, Type.TXT, 1, 5, b"\3abc"),
        ),
        additionals=(Record(owner, Type.A, 1, 5, b"\x0a\0\0\3"),),
    )

    assert list(map(str, addresses(message))) == ["10.0.0.1", "fd00::", "10.0.0.3"]


def test_address_holds_for_as_long_as_the_longest_of_its_records():
    owner, data = Name.of("web"), b"\x0a\0\0\1"
    records = tuple(Record(owner, Type.A, 1, ttl, data) for ttl in (5, 30, 10))
    assert lifetimes(Message(1, answers=records)) == {ipaddress.ip_address("10.0.0.1"): 30}
