"""What users name to be led into the link, or to be left alone: networks, addresses, hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network

from towline.cluster.ranges import Network
from towline.errors import UsageError
from towline.redirect.messages import InvalidRequest, check_range
from towline.wire.dns import DnsError, Name

_HINT = "It takes a network (10.1.0.0/16), an address, or the name of a host; several with commas."
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Targets:
    """Networks, and hosts whose addresses are looked up again and again."""

    networks: frozenset[Network] = frozenset()
    hosts: tuple[str, ...] = ()


NOTHING = Targets()


def included(texts: Iterable[str]) -> Targets:
    """Read values of --include; raises UsageError for what cannot be led anywhere."""
    targets = _read("--include", texts)
    for network in targets.networks:
        try:
            check_range(network)
        except InvalidRequest as refusal:
            raise UsageError(
                f"--include {network}: {refusal}.", "This machine needs it for itself: name less."
            ) from refusal
    return targets


def excluded(texts: Iterable[str]) -> Targets:
    """Read values of --exclude; raises UsageError for what is none."""
    return _read("--exclude", texts)


def _read(option: str, texts: Iterable[str]) -> Targets:
    networks, hosts = set(), {}
    for text in (part.strip() for whole in texts for part in whole.split(",")):
        network = _network(option, text)
        if network is not None:
            networks.add(network)
        elif _is_host(text):
            hosts[text.rstrip(".").lower()] = True
        else:
            raise UsageError(f"{option} {text!r} names no addresses.", _HINT)
    return Targets(frozenset(networks), tuple(hosts))


def _network(option: str, text: str) -> Network | None:
    if "%" in text:  # the zone of a link, which is no cluster's
        return None
    with suppress(ValueError):
        return ip_network(text)
    with suppress(ValueError):
        network = ip_network(text, strict=False)
        raise UsageError(
            f"{option} {text}: that is no network, but an address inside of one.",
            f"The network is {network}, the address alone {text.partition('/')[0]}.",
        )
    return None


def _is_host(text: str) -> bool:
    labels = text.rstrip(".").split(".")
    if not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        return False
    try:
        return bool(Name.of(text))
    except DnsError:
        return False
