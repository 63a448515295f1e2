"""What a user says of names: whose they are, and for how long answers are kept."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from towline.dns.policy import ClusterNames
from towline.errors import UsageError
from towline.features.uplink.leads import hosts_of
from towline.features.uplink.targets import Targets
from towline.kube.config import Access
from towline.link.link import Link
from towline.wire.dns import DnsError, Name


@dataclass(frozen=True, slots=True)
class NameOptions:
    """`domains` are asked in the cluster with all below them, `excluded` never are; the longest
    suffix of a name decides. `cluster_domain` is the cluster's own, None for what its pods say.
    Answers of the cluster are kept for `cache_seconds` at most.
    """

    domains: tuple[Name, ...] = ()
    excluded: tuple[Name, ...] = ()
    cluster_domain: Name | None = None
    cache_seconds: int = 0


def cluster_names(
    link: Link, access: Access, wanted: NameOptions, include: Targets, exclude: Targets
) -> ClusterNames:
    """Whose names are whose, by what the user says of domains and hosts, and what pods are told.

    Those by which the API server is found are never the cluster's.
    """
    own = [Name.of(host) for host in hosts_of(access) if not _is_address(host)]
    return ClusterNames.of_pod(
        str(link.agent.get("resolv_conf", "")),
        access.namespace,
        domain=wanted.cluster_domain,
        inside=(*wanted.domains, *map(Name.of, include.hosts)),
        outside=(*wanted.excluded, *map(Name.of, exclude.hosts), *own),
    )


def suffixes(texts: Iterable[str]) -> tuple[Name, ...]:
    """Read domains, several of them with commas between; `*.` or `.` may stand before each.

    Raises UsageError for what is no domain.
    """
    return tuple(suffix(word.strip()) for text in texts for word in text.split(","))


def suffix(text: str) -> Name:
    """Read one domain; raises UsageError for what is none."""
    bare = text.removeprefix("*").removeprefix(".")
    try:
        name = Name.of(bare.encode("idna").decode())
    except (UnicodeError, DnsError) as error:
        raise _no_domain(text) from error
    if not name.labels or "*" in bare:
        raise _no_domain(text)
    return name


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(text))
    return False


def _no_domain(text: str) -> UsageError:
    return UsageError(f"'{text}' is no domain.", "Write it as in corp.internal.")
