"""How long each session's Job and pod outlive the end of their session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab import namespaces
from lab.cluster import Lab
from tests.e2e import notrace, objects
from tests.e2e.trace.cluster import Api

_KINDS = ("/apis/batch/v1/jobs", "/api/v1/pods")
_LOOK_AGAIN_SECONDS = 0.1


@dataclass(slots=True)
class Lifetimes:
    """When what belongs to sessions was first and last there, and when sessions were ended."""

    ends: list[float] = field(default_factory=list)
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)

    def ending(self) -> None:
        """A session is ended now."""
        self.ends.append(time.monotonic())

    def check(self, seconds: float) -> None:
        """Nothing was there for longer than that after its session was ended.

        The session of a thing is taken to be the first one that was ended after the thing was
        seen, else the last one.
        """
        too_long = {}
        for name, (first, last) in self.seen.items():
            end = next((moment for moment in self.ends if moment >= first), max(self.ends))
            if last - end > seconds:
                too_long[name] = f"{last - end:.1f} s"
        assert too_long == {}

    def look(self, api: Api) -> None:
        """Take note of what there is."""
        for kind in _KINDS:
            began = time.monotonic()
            found = api.get(f"{kind}?labelSelector={objects.MANAGED}", "application/json")
            for item in found.get("items", ()):
                name = f"{kind} {item['metadata']['name']}"
                self.seen[name] = (self.seen.get(name, (began, 0.0))[0], began)


@contextmanager
def observed(lab: Lab) -> Iterator[Lifetimes]:
    """Look all the time meanwhile."""
    lifetimes, over = Lifetimes(), threading.Event()
    api = notrace.open_api(lab)

    def look_again() -> None:
        namespaces.enter(lab.layout.node_net, namespaces.Kind.NET)
        while not over.wait(_LOOK_AGAIN_SECONDS):
            lifetimes.look(api)

    with ThreadPoolExecutor(max_workers=1) as thread:
        looking = thread.submit(look_again)
        try:
            yield lifetimes
        finally:
            over.set()
            looking.result()
            api.close()
