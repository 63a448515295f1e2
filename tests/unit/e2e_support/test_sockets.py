"""With real sockets of this process, in the network that it is in."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.e2e.trace import sockets


def mine(name):
    """The lines of the view with something in it that is this test's own."""
    return [line for line in sockets.view() if name in line]


def hexadecimal(made):
    """As the local end of a socket's line."""
    return f":{made.getsockname()[1]:04X} →"


def test_view_shows_a_listener_and_its_connections():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = hexadecimal(server)
        assert [line.split()[-1] for line in mine(port)] == ["0A"]
        with socket.create_connection(server.getsockname()) as client, server.accept()[0]:
            name = hexadecimal(client)
            assert (len(mine(name)), len(mine(port))) == (1, 2)
        # One end is in TIME_WAIT now, which the kernel alone keeps.
        assert (len(mine(name)), len(mine(port))) == (0, 1)
    assert mine(port) == []


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_view_shows_a_bound_socket(kind):
    with socket.socket(socket.AF_INET, kind) as made:
        made.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            made.listen()
        assert len(mine(hexadecimal(made))) >= 1


def test_view_shows_an_abstract_unix_socket():
    name = "\0towline-unit-test"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(name)
        assert mine("@towline-unit-test") == ["unix type 0001 @towline-unit-test"]
    assert mine("@towline-unit-test") == []


def test_view_counts_sockets_without_a_name():
    def number():
        return len([line for line in sockets.view() if "(no name)" in line])

    before = number()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert number() >= before + 2


def test_count_is_of_tcp_and_udp():
    before = sockets.count(sockets.HERE)
    with socket.create_server(("127.0.0.1", 0)):
        assert sockets.count(sockets.HERE) >= before + 1


def test_view_of_tables(tmp_path):
    """Rows as of proc(5), cut off after the last column that matters."""
    tables = {
        "tcp": "0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 77\n"
        "1: 0100007F:1F90 0100007F:1F91 06 0:0 00:0 0 0 0 0\n",
        "packet": "ffff 3 3 0003 2 1 0 0 8\n",
        "netlink": "ffff 0 0 00000000 0 0 0 2 0 5\nffff 12 4711 00000001 0 0 0 2 0 6\n",
        "unix": "ffff: 00000002 00000000 00010000 0001 01 9 @some name\n",
    }
    for name, rows in tables.items():
        (tmp_path / name).write_text(f"the names of the columns\n{rows}")
    assert set(sockets.view(tmp_path)) == {
        "tcp 0100007F:1F90 → 00000000:0000 state 0A",
        "packet type 3 protocol 0003 interface 2",
        "netlink protocol 12 groups 00000001",
        "unix type 0001 @some name",
    }


def test_here_is_the_threads_own_network():
    assert Path("/proc/thread-self/net") == sockets.HERE
