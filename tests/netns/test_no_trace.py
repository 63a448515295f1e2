"""Whatever is killed, and whenever: nothing of the session stays on the machine."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.netns import cluster, machine
from towline.errors import RedirectError
from towline.redirect import messages
from towline.redirect.control import Redirect
from towline.redirect.launch import start_helper

pytestmark = pytest.mark.usefixtures("traceless")

SESSION = [sys.executable, str(Path(__file__).with_name("session.py"))]
# From the start of the interpreter to some time after the session is ready.
_CHANCE = random.Random(7)
MOMENTS = [round(_CHANCE.uniform(0, 0.6), 3) for _ in range(12)]


@pytest.fixture
def session():
    process = subprocess.Popen(SESSION, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def is_ready(session):
    assert session.stdout.readline() == "ready\n"
    return session


def end(session, seconds=10):
    """Wait for the session to end by itself; gives its output."""
    said, complained = session.communicate(timeout=seconds)
    assert "Traceback" not in complained
    return said, complained


def kill_helpers(number=signal.SIGKILL):
    for pid in machine.helpers():
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_session_ended(session, number):
    is_ready(session).send_signal(number)
    session.wait(10)


def test_session_interrupted_ends_in_order(session):
    is_ready(session).send_signal(signal.SIGINT)
    end(session)
    assert machine.helpers() == []
    assert session.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_helper_ended_is_seen_by_the_session(session, number):
    is_ready(session)
    kill_helpers(number)
    said, _ = end(session)
    assert said == "lost\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_helper_is_deaf_to_the_terminal(session, number):
    is_ready(session)
    kill_helpers(number)
    time.sleep(0.2)
    assert len(machine.helpers()) == 1


def test_helper_is_out_of_the_sessions_process_group(session):
    is_ready(session)
    (helper,) = machine.helpers()
    assert os.getsid(helper) == helper


def test_both_killed(session):
    is_ready(session)
    session.kill()
    kill_helpers()
    session.wait(10)


@pytest.mark.parametrize("moment", MOMENTS)
def test_session_killed_at_any_moment(session, moment):
    time.sleep(moment)
    session.kill()
    session.wait(10)


@pytest.mark.parametrize("moment", MOMENTS)
def test_helper_killed_at_any_moment(session, moment):
    """Also while it starts: the session says so, and does not hang."""
    time.sleep(moment)
    while session.poll() is None:  # also what it forks just now
        kill_helpers()
    end(session)


@pytest.mark.parametrize("moment", MOMENTS)
def test_both_killed_at_any_moment(session, moment):
    time.sleep(moment)
    kill_helpers()
    session.kill()
    kill_helpers()
    session.wait(10)


@pytest.fixture(params=["alone", "beside another user of NAT"])
def neighbour(request, _namespace):
    """What else there is decides whether conntrack translates on when a session's table goes."""
    if request.param == "alone":
        yield
        return
    machine.load_rules("table inet other { chain out { type nat hook output priority -100; }; }")
    yield
    machine.run("nft delete table inet other")


@pytest.mark.parametrize("host", cluster.HOSTS)
@pytest.mark.parametrize("killed", ["session", "helper", "both"])
def test_program_that_reads_hears_of_the_end(neighbour, session, host, killed):
    is_ready(session)
    with connected_client(host) as client:
        if killed != "session":
            kill_helpers()
        if killed != "helper":
            session.kill()
        session.wait(10)
        with suppress(ConnectionError):
            assert client.recv(1000) == b""


def connected_client(host):
    client = socket.create_connection((host, cluster.ACCEPTING), timeout=5)
    assert b"dialled" in client.recv(1000)
    return client


async def test_helper_has_no_rights_but_those_of_the_network():
    async with Redirect.open():
        (helper,) = machine.helpers()
        status = dict(
            line.split(":\t") for line in Path(f"/proc/{helper}/status").read_text().splitlines()
        )
    network_only = "0000000000003000"  # CAP_NET_ADMIN and CAP_NET_RAW
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == network_only
    assert status["NoNewPrivs"] == "1"


async def test_helper_that_was_never_used_is_gone_with_its_socket():
    helper = await start_helper()
    assert len(machine.helpers()) == 1
    helper.close()


async def test_helper_lives_until_the_last_copy_is_closed():
    """As when a session goes to the background: another process holds a copy."""
    helper = await start_helper()
    with helper.dup() as copy:
        helper.close()
        async with Redirect.adopt(copy) as redirect:
            assert redirect.device == "tow0"


async def test_helper_refuses_to_open_twice_and_goes_on():
    helper = await start_helper()
    async with Redirect.adopt(helper) as redirect:
        with pytest.raises(RedirectError, match="open already"):
            await redirect._channel.ask(messages.Open())
        await redirect.add_routes(cluster.RANGES)


async def test_cancelled_while_opening():
    for turns in range(40):
        opening = asyncio.ensure_future(open_and_wait())
        for _ in range(turns):
            await asyncio.sleep(0.003)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def open_and_wait():
    async with Redirect.open() as redirect:
        await redirect.lost.wait()
