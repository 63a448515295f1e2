"""Exchanges of the lab's services, and what clients in the cluster get meanwhile."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager

from lab.cluster import Lab
from tests.e2e import answering, objects
from tests.e2e.laptop import Laptop
from tests.e2e.tow import Session, connected, starting
from tests.e2e.waiting import until

REQUEST = b"GET / HTTP/1.0\r\n\r\n"
# kube-proxy looks at its work once a second.
SERVED_SECONDS = 15


def exchanging(laptop: Laptop, *arguments: str) -> AbstractContextManager[Session]:
    return starting(laptop, *arguments, command="exchange")


def exchanged(laptop: Laptop, *arguments: str) -> AbstractContextManager[Session]:
    return connected(laptop, *arguments, command="exchange")


def answerer(lab: Lab, address: str, port: int = 80) -> str:
    """Who answers a request: the name of a program of the laptop or of the original pods.

    "" when nobody does.
    """
    answer = answering.answers(lab, address, port, REQUEST)
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200"):
        return str(json.loads(body)["name"])
    return answer.partition(b"GET")[0].decode()


def await_answerer(
    lab: Lab,
    wanted: str,
    service: str = "web",
    namespace: str = "default",
    seconds: float = SERVED_SECONDS,
) -> None:
    """Wait until clients get their answers, over each family, from who is wanted."""
    addresses = objects.addresses_of_service(lab, service, namespace)

    def all_answer() -> bool:
        return all(answerer(lab, address) == wanted for address in addresses)

    until(all_answer, seconds, f"answers of {wanted!r}")
