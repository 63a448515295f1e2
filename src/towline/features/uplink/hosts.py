"""The addresses that the cluster knows of a host, asked of the agent."""

from __future__ import annotations

import asyncio
import logging

from towline.cluster.ranges import Address
from towline.dns.policy import addresses
from towline.link.link import Link
from towline.relay.peer import LinkLost
from towline.relay.request import StreamReset, request
from towline.wire.dns import DnsError, Message, Name, Type, query
from towline.wire.frames import Kind

log = logging.getLogger(__name__)

RESOLVE_SECONDS = 6.0


async def in_cluster(link: Link, host: str) -> set[Address]:
    """What the pod's resolver answers for a full name, in both families; nothing when silent."""
    found = await asyncio.gather(*(_ask(link, host, kind) for kind in (Type.A, Type.AAAA)))
    return set().union(*found)


async def _ask(link: Link, host: str, kind: Type) -> set[Address]:
    question = query(Name.of(host), kind).encode()
    try:
        answer = await request(link.peer, Kind.RESOLVE, question, RESOLVE_SECONDS)
        return set(addresses(Message.parse(answer)))
    except (LinkLost, StreamReset, TimeoutError, DnsError) as error:
        log.info("the cluster does not answer for %s: %r", host, error)
        return set()
