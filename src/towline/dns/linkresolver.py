"""The resolver that systemd-resolved asks, at the session's device.

systemd-resolved completes names of one label only, and does not ask nameservers for them as they
are. So all sessions give it the same search domain, which stands for whatever search lists they
know: completed with it, a name is that one label again.

And it keeps answers, for each device. What a newer session has to say counts at once, on the
devices of older ones too, so what clusters say is not to be kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from towline.dns.resolver import Resolver
from towline.wire.dns import DnsError, Message, Name, Rcode, nodata, nxdomain

if TYPE_CHECKING:
    from towline.dns.search import Outcome

# Of the domain that is nobody's in the world (ICANN resolution 2024.07.29.06).
SHORT = Name.of("towline.internal")


class LinkResolver(Resolver):
    """Answers as :class:`Resolver` does; `NAME.towline.internal` (:data:`SHORT`) means `NAME`."""

    async def answer(self, data: bytes, tcp: bool) -> bytes | None:
        """Return the reply to one message from systemd-resolved, None for what deserves none."""
        query = _parse(data)
        if query is None or query.is_response or len(query.questions) != 1:
            return await super().answer(data, tcp)
        name = query.questions[0].name
        if not name.is_under(SHORT):
            return self._unkept_denial(query, await super().answer(data, tcp))
        short = name.without(SHORT)
        if len(short.labels) != 1:
            return (nxdomain(query) if short.labels else nodata(query)).encode()
        asked = query.asking(short)
        reply = self._unkept_denial(asked, await super().answer(asked.encode(), tcp))
        return reply and _fitting(query, Message.parse(reply).renamed(short, name), tcp)

    async def _from_cluster(self, query: Message, outcome: Outcome, tcp: bool) -> bytes | None:
        reply = await super()._from_cluster(query, outcome, tcp)
        return reply and _fitting(query, _unkept(Message.parse(reply)), tcp)

    def _unkept_denial(self, query: Message, reply: bytes | None) -> bytes | None:
        """Let no denial be kept of a name that the cluster may yet have.

        It is the world's, which changes slowly and says so.
        """
        message = None if reply is None else _parse(reply)
        if message is None or message.answers or message.rcode not in _DENIALS:
            return reply
        plan = self._policy.plan(query.questions[0])
        return _unkept(message).encode() if plan.candidates or plan.late else reply


_DENIALS = frozenset({Rcode.NOERROR, Rcode.NXDOMAIN})


def _unkept(message: Message) -> Message:
    """Without what says for how long an answer holds, or (RFC 2308 §5) a denial."""
    answers = tuple(replace(record, ttl=0) for record in message.answers)
    return replace(message, answers=answers, authorities=())


def _fitting(query: Message, message: Message, tcp: bool) -> bytes:
    return message.encode() if tcp else message.encode(query.udp_limit)


def _parse(data: bytes) -> Message | None:
    try:
        return Message.parse(data)
    except DnsError:
        return None
