from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from towline.redirect import helper, messages

HELPER = [sys.executable, "-I", "-m", "towline.redirect.helper"]


@pytest.fixture
def peer():
    """A socket on which a helper that has opened nothing answers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    with ours, theirs:
        thread = threading.Thread(target=helper.serve, args=[theirs])
        thread.start()
        yield ours
        ours.close()
        thread.join(5)
        assert not thread.is_alive()


def ask(peer, data):
    peer.send(data)
    return messages.unframe(peer.recv(messages.MAX_MESSAGE_BYTES))[0]


def test_hello_answered_with_the_process(peer):
    assert ask(peer, messages.encode(messages.Hello()))["pid"] > 0


@pytest.mark.parametrize(
    "data", [b"x", b"{}\n", b"[]\n", b'{"do":"Shell"}\n', b'{"do":["Open"]}\n', b"\xff\n", b"\n"]
)
def test_nonsense_refused_and_survived(peer, data):
    assert ask(peer, data)["error"] == "request"
    assert "pid" in ask(peer, messages.encode(messages.Hello()))


def test_nothing_carried_out_before_open(peer):
    reply = ask(peer, messages.encode(messages.RedirectTcp(80)))
    assert reply == {"error": "request", "reason": "nothing is open"}


def test_peer_gone_before_the_reply_ends_it():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(messages.encode(messages.Hello()))
    ours.close()
    with theirs:
        helper.serve(theirs)


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_process_without_a_session_ends_with_its_status(stdin):
    done = subprocess.run(HELPER, stdin=stdin, capture_output=True, timeout=20, check=False)
    assert done.returncode == messages.NO_PEER_STATUS
    assert b"not the session's socket" in done.stderr


def test_module_loads_little():
    program = (
        "import sys, towline.redirect.helper\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] in"
        " {'asyncio', 'aiohttp', 'click', 'yaml', 'rich', 'ssl', 'subprocess', 'logging'}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, check=True, timeout=20
    )
    assert done.stdout.strip() == b""
