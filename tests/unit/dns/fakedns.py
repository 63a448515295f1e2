"""Small real name servers in memory: a cluster's, as CoreDNS serves it, and the outside's."""

import asyncio
import ipaddress
from collections import Counter
from dataclasses import replace

import dns.asyncquery
import dns.message
import dns.rdata

from towline.dns.policy import ClusterNames, Policy
from towline.dns.resolver import Resolver
from towline.wire.dns import (
    AA,
    Message,
    Name,
    Record,
    Type,
    nodata,
    nxdomain,
    reply,
)

DOMAIN = Name.of("cluster.local")
POD_RESOLV_CONF = """\
search default.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
"""
# Of a service of type ClusterIP in both families, in IPv4 only, headless ones with their pods,
# an ExternalName, and namespaces.
CLUSTER_ZONE = """\
web.default.svc            A      10.96.0.1
web.default.svc            AAAA   fd00:96::1
only4.default.svc          A      10.96.0.2
api.other.svc              A      10.96.0.3
db.default.svc             A      10.244.0.5
db.default.svc             A      10.244.0.6
pod-0.db.default.svc       A      10.244.0.5
pod-1.db.default.svc       A      10.244.0.6
pod-0.cache.other.svc      A      10.244.0.7
_http._tcp.web.default.svc SRV    0 100 80 web.default.svc.cluster.local.
ext.default.svc            CNAME  db.corp.example.
10-244-0-5.default.pod     A      10.244.0.5
both.default.svc           A      10.96.0.20
both.other.svc             A      10.96.0.21
dual.dev.svc               A      10.96.0.30
other.svc                  NOTHING
dev.svc                    NOTHING
"""


def soa(ttl):
    """The zone's SOA, by which denials hold for `ttl` seconds."""
    numbers = b"".join(number.to_bytes(4, "big") for number in (1, 7200, 1800, 86400, ttl))
    return Record(DOMAIN, Type.SOA, 1, ttl, b"\2ns\0\5admin\0" + numbers)


class FakeZone:
    """Answers queries from a table; counts them; can be held back or made to fail."""

    def __init__(self, zone="", suffix=None):
        self.records = {}
        self.asked = Counter()
        self.open = asyncio.Event()
        self.open.set()
        self.was_asked = asyncio.Event()
        self.error = None
        self.rcode = None
        for line in zone.splitlines():
            name, rtype, rdata = (*line.split(maxsplit=2), "")[:3]
            self.add(Name.of(name) + (suffix or Name()), rtype, rdata)

    def add(self, name, rtype, rdata, ttl=5):
        """Add a record; type NOTHING makes the name exist without any."""
        records = self.records.setdefault(name, [])
        if rtype != "NOTHING":
            value = dns.rdata.from_text("IN", rtype, rdata)
            records.append(Record(name, value.rdtype, 1, ttl, value.to_wire()))

    @property
    def names(self):
        """The names that were asked for, each once, in order."""
        return list(dict.fromkeys(name for name, _ in self.asked))

    async def answer(self, data):
        query = Message.parse(data)
        question = query.questions[0]
        self.asked[str(question.name), question.rtype] += 1
        self.was_asked.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        if self.rcode is not None:
            return reply(query, self.rcode).encode()
        return self.resolve(query).encode()

    def resolve(self, query):
        question = query.questions[0]
        known = self.records.get(question.name)
        if known is None:
            return self.denial(query)
        found = tuple(r for r in known if r.rtype in (question.rtype, Type.CNAME))
        if not found:
            return nodata(query, self.soa_for(question.name))
        answers = tuple(replace(record, name=question.name) for record in found)
        message = reply(query, answers=answers)
        return replace(message, flags=message.flags | AA)

    def denial(self, query):
        name = query.questions[0].name
        below = any(known.is_under(name) for known in self.records)
        return (nodata if below else nxdomain)(query, self.soa_for(name))

    def soa_for(self, name):
        return None


class FakeCluster(FakeZone):
    """CoreDNS for cluster.local: a namespace, `svc` and `pod` exist without records."""

    def __init__(self, zone=CLUSTER_ZONE):
        super().__init__(zone, DOMAIN)
        self.soa_ttl = 5

    def soa_for(self, name):
        return soa(self.soa_ttl) if name.is_under(DOMAIN) else None


class FakeUpstream(FakeZone):
    """The laptop's own nameserver."""

    def __init__(self, zone=""):
        super().__init__(zone)
        self.by_tcp = []

    async def ask(self, data, tcp):
        self.by_tcp.append(tcp)
        return await self.answer(data)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Setting:
    """A resolver with a cluster, an upstream and a clock of its own, and what it announced."""

    def __init__(
        self,
        *,
        laptop_search=(),
        inside=(),
        outside=(),
        conf=POD_RESOLV_CONF,
        cluster_timeout=2.0,
        cache_seconds=0,
        kind=Resolver,
        **callbacks,
    ):
        """`callbacks` replace `ask_cluster`, `ask_upstream` or `on_answer` of this setting."""
        self.cluster = FakeCluster()
        self.upstream = FakeUpstream("example.com A 192.0.2.1\ndb.corp.example A 192.0.2.2")
        self.clock = Clock()
        self.announced = []
        ranges = [ipaddress.ip_network(text) for text in ("10.96.0.0/16", "fd00:96::/64")]
        names = ClusterNames.of_pod(
            conf, "default", inside=map(Name.of, inside), outside=map(Name.of, outside)
        )
        search = tuple(Name.of(text) for text in laptop_search)
        own = {
            "ask_cluster": self.cluster.answer,
            "ask_upstream": self.upstream.ask,
            "on_answer": self.on_answer,
        }
        self.resolver = kind(
            **{**own, **callbacks},
            policy=Policy(
                names,
                in_ranges=lambda address: any(address in net for net in ranges),
                laptop_search=lambda: search,
            ),
            cluster_timeout=cluster_timeout,
            cache_seconds=cache_seconds,
            clock=self.clock,
        )

    async def on_answer(self, addresses):
        self.announced.append(sorted(map(str, addresses)))


async def ask(setting, name, rtype="A", *, tcp=False, address="127.0.0.1", **options):
    """Return the reply to one lookup through the resolver's sockets."""
    exchange = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    query = dns.message.make_query(name, rtype, **options)
    reply = await exchange(query, address, port=setting.resolver.port, timeout=5)
    assert query.is_response(reply)
    return reply


async def denied_long_ago(setting, name):
    """Have the cluster say that it had nothing yet when a name was looked up, long ago."""
    records, setting.cluster.records = setting.cluster.records, {}
    await ask(setting, name)
    setting.cluster.records = records
    setting.clock.now += 3600
    for zone in (setting.cluster, setting.upstream):
        zone.was_asked.clear()


def texts(reply):
    """Return the records of the answer as text."""
    return sorted(f"{rrset.name} {rdata}" for rrset in reply.answer for rdata in rrset)
