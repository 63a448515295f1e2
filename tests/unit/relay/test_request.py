from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.relay.links import Memory, memory
from towline.relay.peer import GATHER_SECONDS, LinkLost
from towline.relay.request import LONGEST_MESSAGE, Message, StreamReset, request
from towline.relay.stream import Stream
from towline.wire.frames import Kind, Reason


class Asked:
    """A link whose far end gathers questions, and one question under way."""

    def __init__(self, link: Memory, question: bytes = b"who?", timeout: float = 10) -> None:
        self.link = link
        self.messages: list[tuple[Stream, Message]] = []
        link.on_opened = self._opened
        self.answer = asyncio.create_task(request(link.near, Kind.RESOLVE, question, timeout))

    async def arrived(self) -> tuple[Stream, bytes]:
        await self.link.carry()
        stream, message = self.messages[0]
        return stream, await message.done

    def _opened(self, stream: Stream, *_: Any) -> None:
        self.messages.append((stream, Message(stream)))


async def test_request_brings_the_answer() -> None:
    async with memory() as link:
        asked = Asked(link)
        stream, question = await asked.arrived()
        assert question == b"who?"
        stream.accept()
        stream.send(b"me, ")
        stream.send(b"of course")
        stream.send_eof()
        await link.carry()

        assert await asked.answer == b"me, of course"
        assert link.near.streams == link.far.streams == {}


async def test_question_and_answer_are_one_flight_each() -> None:
    async with memory() as link:
        await asyncio.sleep(2 * GATHER_SECONDS)  # what is said first would go at once
        asked = Asked(link)
        await asyncio.sleep(2 * GATHER_SECONDS)
        questions = len(link.near_transport.writes)
        _, question = await asked.arrived()
        await asyncio.sleep(2 * GATHER_SECONDS)
        asked.messages[0][1].answer(question)
        await asyncio.sleep(2 * GATHER_SECONDS)
        answers = len(link.far_transport.writes)
        await link.carry()

        assert (questions, answers) == (1, 1)
        assert await asked.answer == question
        assert link.near.streams == link.far.streams == {}


async def test_request_that_is_reset_raises_the_reason() -> None:
    async with memory() as link:
        asked = Asked(link)
        stream, _ = await asked.arrived()
        stream.reset(Reason.UNRESOLVED)
        await link.carry()

        with pytest.raises(StreamReset) as caught:
            await asked.answer
        assert caught.value.reason == Reason.UNRESOLVED


async def test_request_that_is_cancelled_as_its_answer_comes_is_cancelled() -> None:
    async with memory() as link:
        asked = Asked(link)
        await asked.arrived()
        (question,) = link.near.streams.values()
        assert isinstance(question.handler, Message)
        question.handler.eof()
        asked.answer.cancel()

        with pytest.raises(asyncio.CancelledError):
            await asked.answer


async def test_request_that_times_out_resets_its_stream() -> None:
    async with memory() as link:
        asked = Asked(link, timeout=0)
        await link.carry()
        with pytest.raises(TimeoutError):
            await asked.answer
        await link.carry()

        assert link.near.streams == link.far.streams == {}


async def test_request_that_is_cancelled_resets_its_stream() -> None:
    async with memory() as link:
        asked = Asked(link)
        await link.carry()
        asked.answer.cancel()
        await asyncio.wait([asked.answer])
        await link.carry()

        assert asked.answer.cancelled()
        assert link.near.streams == link.far.streams == {}


async def test_request_ends_with_the_link() -> None:
    async with memory() as link:
        asked = Asked(link)
        await link.carry()
        link.near.abort()

        with pytest.raises(StreamReset) as caught:
            await asked.answer
        assert caught.value.reason == Reason.LINK_LOST
        with pytest.raises(LinkLost):
            await request(link.near, Kind.RESOLVE, b"", 1)


async def test_answer_that_is_too_long_is_refused() -> None:
    async with memory() as link:
        asked = Asked(link)
        stream, _ = await asked.arrived()
        stream.accept()
        stream.send(bytes(LONGEST_MESSAGE + 1))
        await link.carry()

        with pytest.raises(StreamReset) as caught:
            await asked.answer
        assert caught.value.reason == Reason.EXHAUSTED
        assert link.near.streams == link.far.streams == {}


async def test_question_that_is_taken_back_is_told_to_the_answering_end() -> None:
    async with memory() as link:
        messages: list[Message] = []
        link.on_opened = lambda stream, *_: messages.append(Message(stream))
        stream = link.near.open(Kind.RESOLVE)
        stream.send(b"half a ques")
        stream.reset(Reason.CANCELLED)
        await link.carry()

        with pytest.raises(StreamReset):
            await messages[0].done
