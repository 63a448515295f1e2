"""Asks the pod's own nameservers on behalf of a stream: one DNS message each way."""

from __future__ import annotations

import asyncio

from towline.agent.pod import nameservers, resolv_conf
from towline.relay.dnsclient import exchange
from towline.relay.request import Message, StreamReset
from towline.relay.stream import Stream
from towline.wire.dns import DnsError
from towline.wire.frames import Reason

TRY_SECONDS = 2.0


async def resolve(stream: Stream, question: Message) -> None:
    """Answer the stream's question, or reset it when no nameserver of the pod does."""
    try:
        message = await question.done
    except StreamReset:
        return
    for server in nameservers(resolv_conf()):
        try:
            answer = await exchange(message, (server, 53), timeout=TRY_SECONDS)
        except (OSError, asyncio.TimeoutError):
            continue
        except DnsError:
            stream.reset(Reason.UNSUPPORTED)
            return
        question.answer(answer)
        return
    stream.reset(Reason.TIMED_OUT)
