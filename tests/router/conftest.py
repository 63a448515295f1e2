"""Each test here has a real Envoy: the release that the lab gets from PyPI."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.router import envoys, http1


class Scene:
    """A router before `original`, both ended with the test; more is added by need."""

    def __init__(self, router, original, stack: AsyncExitStack) -> None:
        self.router: envoys.Router = router
        self.original: http1.Server = original
        self._stack = stack

    async def join(self, name: str, *match: str, handler=http1.tell, **more) -> http1.Server:
        """A participant whose program speaks HTTP/1.1."""
        server = http1.Server(name, handler)
        await self._stack.enter_async_context(server.listening())
        await self.router.join(name, *match, slots=[server.port], **more)
        return server

    async def ask(self, line: str = "GET /", *headers: str, body: bytes = b"") -> http1.Message:
        return await http1.ask(self.router.port, line, *headers, body=body)

    def connected(self):
        return http1.connected(self.router.port)


@pytest.fixture
async def scene(tmp_path):
    async with AsyncExitStack() as stack:
        original = await stack.enter_async_context(http1.Server("original").listening())
        port = envoys.routed(original.port)
        router = await stack.enter_async_context(envoys.running(tmp_path / "router", port))
        yield Scene(router, original, stack)
