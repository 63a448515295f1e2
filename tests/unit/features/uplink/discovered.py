"""A cluster's addresses as a test says them, and a link that has nothing to tell."""

import asyncio

from towline.cluster.ranges import Answer, Kind, Source


class Discovered:
    """Knows the ranges of services, and sees `seen` of them, or says `why` not, when it is to."""

    def __init__(self, services, *seen, why=""):
        self.answers = {}
        self.nodes = frozenset()
        self.changed = asyncio.Event()
        self._seen = Answer(Source.SEEN, Kind.SERVICES, frozenset(seen), why)
        self.say(Answer(Source.SERVICE_CIDRS, Kind.SERVICES, frozenset({services})))

    def say(self, answer):
        self.answers[answer.source, answer.kind] = answer
        self.changed.set()

    async def see(self, kind):
        if kind is Kind.SERVICES:
            self.say(self._seen)

    async def ask_agent(self, agent, pod, kinds):
        pass


class Link:
    up = True
    agent = None
