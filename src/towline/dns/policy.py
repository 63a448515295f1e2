"""Decides for a question whether the cluster is asked, under which names, and what else is.

A name means here what it means in a pod of the session's namespace: the pod's search list is
tried in its order (Kubernetes, "DNS for Services and Pods"). Names outside must cost nothing,
so a candidate is asked for only if the cluster has anything at its *gate*, the candidate
reduced to the last label before the suffix: when NAMESPACE.svc.DOMAIN does not exist, neither
does anything below it (RFC 8020). One cached answer for `com` rules out all of that domain.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from towline.dns import resolvconf
from towline.wire.dns import CLASS_IN, DnsError, Message, Name, Question, Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Of a pod, unless its cluster sets less so that names outside cost less.
_USUAL_NDOTS = 5

DEFAULT_DOMAIN = Name.of("cluster.local")

_SVC = Name.of("svc")
# The subdomains of the cluster's domain, which are there whatever runs in it
# (Kubernetes DNS-Based Service Discovery, §2).
_SUBDOMAINS = (_SVC, Name.of("pod"))

# Names of the machine itself or its link: RFC 6761 and 6762, and reverse zones.
_NEVER_CLUSTER = tuple(Name.of(text) for text in ("localhost", "local", "invalid", "arpa"))
_REVERSE_V4 = Name.of("in-addr.arpa")
_REVERSE_V6 = Name.of("ip6.arpa")


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """How a pod of the session's namespace resolves names.

    `inside` are further names that are the cluster's alone, with all below them. `outside` are
    names that never are, such as the API server's own host, which must be found when the
    cluster cannot be asked. The longest of all these that a name ends with decides.
    """

    domain: Name
    search: tuple[Name, ...]
    ndots: int = _USUAL_NDOTS
    inside: tuple[Name, ...] = ()
    outside: tuple[Name, ...] = ()

    @classmethod
    def of_pod(
        cls,
        resolv_conf: str,
        namespace: str,
        *,
        domain: Name | None = None,
        inside: Iterable[Name] = (),
        outside: Iterable[Name] = (),
    ) -> ClusterNames:
        """Read a pod's resolv.conf; the domain is what follows `NAMESPACE.svc` in its search.

        Search entries that are not the cluster's, which a pod inherits from its node, are left
        out: the laptop has its own. A `domain` that is given needs no resolv.conf to say it.
        """
        conf = resolvconf.parse(resolv_conf)
        domain = domain or _domain_of(conf.search)
        first = Name((namespace.encode(), b"svc")) + domain
        rest = (name for name in conf.search if name.is_under(domain))
        search = tuple(dict.fromkeys((first, *rest, _SVC + domain, domain)))
        return cls(domain, search, conf.ndots, tuple(inside), tuple(outside))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name to ask the cluster for, if its `gate` (None: it is known to be there) exists.

    A `container` is a namespace or a subdomain: that it exists without records is no answer
    to who looks for a host.
    """

    name: Name
    gate: Name | None = None
    container: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask for one question: the candidates in order, upstream or not, then `late` ones.

    The first who knows the name answers. `shared` tells of a name that is most likely one of
    the world outside: a cluster that has fallen silent is not waited for.
    """

    candidates: tuple[Candidate, ...] = ()
    upstream: bool = True
    late: tuple[Candidate, ...] = ()
    shared: bool = False


UPSTREAM = Plan()


class Policy:
    """The rules, for one cluster and one laptop; pure but for what the two callables know."""

    def __init__(
        self,
        names: ClusterNames,
        *,
        in_ranges: Callable[[IPAddress], bool],
        laptop_search: Callable[[], tuple[Name, ...]] = tuple,
    ) -> None:
        """`in_ranges` knows the cluster's addresses, `laptop_search` resolv.conf's search list."""
        self._names = names
        self._in_ranges = in_ranges
        self._laptop_search = laptop_search
        self._owned = dict.fromkeys((*names.inside, names.domain), True)
        self._owned |= dict.fromkeys(names.outside, False)

    def plan(self, question: Question) -> Plan:
        """Return what to ask for `question`."""
        name = question.name
        if question.rclass != CLASS_IN or not name.labels:
            return UPSTREAM
        if self._is_owned(name):
            return Plan((Candidate(name),), upstream=False)
        forms = tuple(self._forms(name))
        if any(map(self.is_outside, forms)):
            return UPSTREAM
        address = reverse_address(name)
        if address is not None and self._in_ranges(address):
            return Plan((Candidate(name),), upstream=False)
        if name.last() in _NEVER_CLUSTER:
            return UPSTREAM
        return self._search_plan(name, forms)

    def _search_plan(self, name: Name, forms: tuple[Name, ...]) -> Plan:
        """Plan for a name that is not known to be the cluster's, nor to be none of it.

        What upstream has under the very name that was asked goes before what a shorter form of
        it means in the cluster, and, for a name that a pod would ask for as it is, before what
        its search list makes of it.
        """
        full = next((form for form in forms if form.is_under(self._names.domain)), None)
        if full is not None:
            return Plan((Candidate(full),), upstream=False)
        own = tuple(self._candidates(name))
        shorter = dict.fromkeys(c for form in forms[1:] for c in self._candidates(form))
        late = tuple(candidate for candidate in shorter if candidate not in own)
        ours = len(name.labels) > 1 and name.last() in _SUBDOMAINS
        if not ours and len(name.labels) > self._names.ndots:
            own, late = (), (*late, *own)
        if not own and not late:
            return UPSTREAM
        return Plan(own, upstream=not ours, late=late, shared=len(name.labels) > 1)

    def is_outside(self, name: Name) -> bool:
        """Whether a name is never the cluster's, as somebody has said."""
        return self._is_owned(name) is False

    def _is_owned(self, name: Name) -> bool | None:
        """Whether a name is the cluster's alone, or never; None if nobody has said."""
        for count in range(len(name.labels), 0, -1):
            owned = self._owned.get(name.last(count))
            if owned is not None:
                return owned
        return None

    def _forms(self, name: Name) -> Iterator[Name]:
        """Yield a name, and what was typed if the laptop's own search list was added to it."""
        yield name
        for suffix in self._laptop_search():
            if name.is_under(suffix) and name != suffix:
                yield name.without(suffix)

    def _candidates(self, form: Name) -> Iterator[Candidate]:
        if self._is_owned(form):
            yield Candidate(form)
            return
        last = form.last()
        if last in _NEVER_CLUSTER:
            return
        # Longer names are the world's, unless they end in what is found nowhere else.
        if len(form.labels) > max(self._names.ndots, _USUAL_NDOTS) and last not in _SUBDOMAINS:
            return
        for suffix in self._names.search:
            try:
                name = form + suffix
            except DnsError:
                continue
            known = suffix == self._names.domain and last in _SUBDOMAINS
            yield Candidate(name, None if known else last + suffix, self._is_container(name))

    def _is_container(self, name: Name) -> bool:
        inner = name.without(self._names.domain)
        return len(inner.labels) <= 2 and inner.last() in _SUBDOMAINS


def reverse_address(name: Name) -> IPAddress | None:
    """Return the address whose reverse name this is (RFC 1035 §3.5, RFC 3596 §2.5), if it is."""
    try:
        if name.is_under(_REVERSE_V4):
            octets = [label.decode() for label in name.without(_REVERSE_V4).labels]
            return ipaddress.IPv4Address(".".join(reversed(octets)))
        if name.is_under(_REVERSE_V6):
            digits = [label.decode() for label in reversed(name.without(_REVERSE_V6).labels)]
            if len(digits) != 32:
                return None
            groups = ["".join(digits[index : index + 4]) for index in range(0, 32, 4)]
            return ipaddress.IPv6Address(":".join(groups))
    except ValueError:
        return None
    return None


def addresses(message: Message) -> tuple[IPAddress, ...]:
    """Return the addresses in the A and AAAA records of a reply, each once."""
    return tuple(lifetimes(message))


def lifetimes(message: Message) -> dict[IPAddress, int]:
    """Return the addresses in a reply with the seconds for which each holds, the most of them."""
    found: dict[IPAddress, int] = {}
    for record in (*message.answers, *message.additionals):
        if record.rclass != CLASS_IN:
            continue
        if record.rtype == Type.A and len(record.rdata) == 4:
            address: IPAddress = ipaddress.IPv4Address(record.rdata)
        elif record.rtype == Type.AAAA and len(record.rdata) == 16:
            address = ipaddress.IPv6Address(record.rdata)
        else:
            continue
        found[address] = max(record.ttl, found.get(address, 0))
    return found


def _domain_of(search: tuple[Name, ...]) -> Name:
    for name in search:
        if len(name.labels) > 2 and name.key[1] == b"svc":
            return Name(name.labels[2:])
        if len(name.labels) > 1 and name.key[0] == b"svc":
            return Name(name.labels[1:])
    return DEFAULT_DOMAIN
