"""Whoever waits for a session to start is told what for, and why that takes long."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import contextmanager

from lab import namespaces, settings
from tests.e2e.tow import END_SECONDS, GRACE, starting

# An end that Ctrl-C brings about before a session was ready.
INTERRUPTED = 130
# The kubelet lets go of a pod when pulling its image has failed.
PULL_SECONDS = 60
NO_NODE = "1 node(s) were unschedulable"


@contextmanager
def cordoned(lab):
    """No pod is put on the node meanwhile."""
    lab.kubectl("cordon", settings.NODE_NAME)
    try:
        yield
    finally:
        lab.kubectl("uncordon", settings.NODE_NAME)


def test_scheduler_that_finds_no_node(lab, laptop, no_trace):
    with cordoned(lab), starting(laptop) as session:
        assert session.told(NO_NODE).startswith("Waiting for a node for the agent")
        session.interrupt()
        assert session.end() == INTERRUPTED


def test_reason_is_told_to_people_without_a_terminal_too(lab, laptop, no_trace):
    argv = [laptop.tow, "connect", GRACE]
    pipes = {"stderr": subprocess.PIPE, "start_new_session": True}
    with cordoned(lab), laptop.start(argv, **pipes) as process:
        assert any(NO_NODE in line for line in iter(process.stderr.readline, ""))
        process.send_signal(signal.SIGINT)
        assert process.wait(END_SECONDS) == INTERRUPTED


@contextmanager
def silent_registry(lab):
    """What accepts connections on the node, and never answers; gives its address."""

    def listen():
        return socket.create_server(("127.0.0.1", 0))

    with namespaces.call_inside(lab.layout.node_net, listen) as registry:
        yield f"127.0.0.1:{registry.getsockname()[1]}"


def test_registry_that_does_not_answer(lab, laptop, no_trace):
    no_trace.cluster_seconds = PULL_SECONDS
    with silent_registry(lab) as registry:
        image = f"{registry}/some/python:3"
        with starting(laptop, "--image", image) as session:
            session.told(f'Pulling image "{image}"')
            session.interrupt()
            assert session.end() == INTERRUPTED
