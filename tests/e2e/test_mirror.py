"""A copy of a service's requests for a program of the laptop; the original pods answer them all."""

from __future__ import annotations

import json
import queue
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab import namespaces
from tests.e2e import objects
from tests.e2e.answering import ask
from tests.e2e.listening import Listener, listener
from tests.e2e.tow import GRACE_SECONDS, connected, starting
from tests.e2e.waiting import until

SESSION_ERROR = 8
# Until kube-proxy has heard where a service leads.
LED_SECONDS = 15
COPIED_SECONDS = 20
# The sample's ports that echo and that take all: each tells at last how much that was.
ECHO, SINK = 7000, 7002
MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("no_trace")


def echoed(words: bytes) -> bytes:
    """What the original answers."""
    return words + b"%d bytes\n" % len(words)


def addresses(lab) -> list[str]:
    return objects.addresses_of_service(lab, "sample")


def mirroring(laptop, *arguments):
    return starting(laptop, "sample", *arguments, command="mirror")


def mirrored(laptop, *arguments):
    return connected(laptop, "sample", *arguments, command="mirror")


def await_copies(lab, heard: Callable[[], bool], address: str) -> None:
    """Wait until what comes to an address is copied: `heard` looks for what was said."""

    def is_copied() -> bool:
        assert ask(lab, address, ECHO, b"probe") == echoed(b"probe")
        return heard()

    until(is_copied, LED_SECONDS, "a copy")


def heard(here: Listener) -> Callable[[], bool]:
    def look() -> bool:
        try:
            return here.heard.get(timeout=0.5) == b"probe"
        except queue.Empty:
            return False

    return look


def settle(lab, here: Listener) -> None:
    """Wait until both addresses are copied, and forget what was said for that."""
    for address in addresses(lab):
        await_copies(lab, heard(here), address)
    while not here.heard.empty():
        here.heard.get_nowait()


def next_heard(here: Listener, wanted: bytes) -> None:
    """Wait for the copy of some words, past what is left of probes."""
    while (said := here.heard.get(timeout=COPIED_SECONDS)) == b"probe":
        pass
    assert said == wanted, f"{len(said) if said is not None else said} bytes"


def test_program_hears_what_the_original_answers_over_both_families(lab, laptop):
    with listener(laptop) as here, mirrored(laptop, f"--expose={here.port}:{ECHO}") as session:
        ready = session.ready()
        assert ready["command"] == "mirror"
        assert f"Copies from svc/sample in {ready['context']}/default" in ready["message"]
        settle(lab, here)
        for address in addresses(lab):
            for words in (b"", b"hello", b"abcd" * MIB):
                assert ask(lab, address, ECHO, words) == echoed(words)
                next_heard(here, words)


def test_ports_that_are_not_exposed_are_answered_as_ever(lab, laptop):
    with listener(laptop) as here, mirrored(laptop, f"--expose={here.port}:{ECHO}"):
        settle(lab, here)
        (address, _) = addresses(lab)
        answer = ask(lab, address, 8080, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["name"] == "sample"
        assert here.heard.empty()


def test_program_that_does_not_listen_is_told_and_the_originals_answer(lab, laptop):
    with listener(laptop) as free:
        port = free.port
    with mirrored(laptop, f"--expose={port}:{ECHO}") as session:
        told = session.event("unserved")["message"]
        assert told == f"Nothing listens on localhost:{port}: copies are dropped until it does."
        for address in addresses(lab):
            assert ask(lab, address, ECHO, b"x" * MIB) == echoed(b"x" * MIB)
        with listener(laptop, port) as here:
            session.event("served")
            settle(lab, here)
            (address, _) = addresses(lab)
            ask(lab, address, ECHO, b"late")
            next_heard(here, b"late")


def test_program_that_never_reads_holds_up_no_original(lab, laptop):
    """50 MB pass by while the copy stalls, and later requests are copied again."""
    words = b"u" + b"x" * (50 * MIB)
    with listener(laptop) as here:
        exposed = f"--expose={here.port}:{ECHO},{here.port}:{SINK}"
        with mirrored(laptop, exposed):
            settle(lab, here)
            here.reading.clear()
            for address in addresses(lab):
                here.came.clear()
                with talking(lab, address, SINK) as client, client.makefile("rb") as answers:
                    # A copy that lags before the program has it is given up before, too.
                    client.sendall(words[:1])
                    assert here.came.wait(COPIED_SECONDS)
                    client.sendall(words[1:])
                    client.shutdown(socket.SHUT_WR)
                    assert answers.read().endswith(b"%020d" % (len(words) - 1))
                here.came.clear()
                assert ask(lab, address, ECHO, b"meanwhile") == echoed(b"meanwhile")
                assert here.came.wait(COPIED_SECONDS)
            here.reading.set()
            said = [here.heard.get(timeout=COPIED_SECONDS) for _ in range(4)]
            assert said.count(None) == said.count(b"meanwhile") == 2
            ask(lab, address, ECHO, b"again")
            next_heard(here, b"again")


def test_program_that_dies_breaks_no_original(lab, laptop):
    """Neither the connection that is under way nor the next ones."""
    with listener(laptop) as here, mirrored(laptop, f"--expose={here.port}:{ECHO}") as session:
        settle(lab, here)
        (address, _) = addresses(lab)
        here.came.clear()
        with talking(lab, address) as client, client.makefile("rb") as answers:
            client.sendall(b"before")
            assert answers.read(6) == b"before"
            assert here.came.wait(COPIED_SECONDS)
            here.die()
            client.sendall(b"after")
            client.shutdown(socket.SHUT_WR)
            assert answers.read() == b"after11 bytes\n"
        assert ask(lab, address, ECHO) == echoed(b"hello")
        session.event("unserved")


@contextmanager
def talking(lab, address: str, port: int = ECHO) -> Iterator[socket.socket]:
    """A connection of a client in the cluster that lasts."""
    made = namespaces.call_inside(
        lab.layout.node_net, lambda: socket.create_connection((address, port), timeout=20)
    )
    with made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "ended"])
def test_connections_outlive_the_session(lab, laptop, no_trace, number):
    no_trace.allow_grace(GRACE_SECONDS)
    with listener(laptop) as here, mirroring(laptop, f"--expose={here.port}:{ECHO}") as session:
        session.ready()
        settle(lab, here)
        (address, _) = addresses(lab)
        with talking(lab, address) as client, client.makefile("rb") as answers:
            client.sendall(b"before")
            assert answers.read(6) == b"before"
            session.process.send_signal(number)
            assert session.end() == (0 if number == signal.SIGINT else -number)
            for words in (b"after", b"later"):
                client.sendall(words)
                assert answers.read(5) == words
                assert ask(lab, address, ECHO) == echoed(b"hello")
            client.shutdown(socket.SHUT_WR)
            assert answers.read() == b"16 bytes\n"


@pytest.mark.parametrize("command", ["mirror", "exchange"])
def test_second_session_is_refused_with_the_first_ones_name(lab, laptop, command):
    with listener(laptop) as here, mirrored(laptop, f"--expose={here.port}:{ECHO}"):
        with starting(laptop, "sample", command=command) as second:
            error = second.error()
            assert error["exit_code"] == SESSION_ERROR
            assert "svc/sample is intercepted by root@" in error["summary"]


def test_mirror_of_what_nobody_answers_is_refused(laptop):
    done = laptop.run(laptop.tow, "mirror", "sample", "--mode=scale")
    assert done.returncode == 2
    assert "scale" in done.stderr
