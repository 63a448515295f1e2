"""A machine that looks names up through a real systemd-resolved: in a mount namespace of its own.

It has a link with a nameserver for the world, and one, as a VPN's, with its own for a domain.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from lab import namespaces
from lab.namespaces import Kind
from tests.netns import machine

WORLD, VPN = "203.0.113.53", "203.0.113.54"
LINK, VPN_LINK = "world0", "vpn0"
_CLONE_FS = 0x00000200
_HOME = Path("/proc/thread-self/ns/mnt")
_ACCOUNTS = {"messagebus": 990, "systemd-resolve": 991}
_PROGRAM = "/usr/lib/systemd/systemd-resolved"
_SIDES = Path(__file__).with_name("resolved_sides.py")
_PATIENCE_SECONDS = 15


@contextmanager
def looking_up(usr, hosts="files resolve [!UNAVAIL=return] dns"):
    """Be on such a machine, with the `hosts` line of its nsswitch.conf; gives systemd-resolved.

    `usr` is what :mod:`lab.resolved` gives, which must be asked outside of all namespaces.
    """
    _make_links()
    with serving(usr, hosts) as process:
        machine.run(
            f"resolvectl dns {LINK} {WORLD}; resolvectl domain {LINK} lan;"
            f"resolvectl dns {VPN_LINK} {VPN}; resolvectl domain {VPN_LINK} '~corp'"
        )
        with side("world"):
            yield process


@contextmanager
def serving(usr, hosts="files resolve [!UNAVAIL=return] dns", settings=""):
    """Be where systemd-resolved runs, with settings of resolved.conf; gives its process."""
    home, folder = os.open(_HOME, os.O_RDONLY | os.O_CLOEXEC), Path.cwd()
    namespaces.unshare(Kind.MOUNT)
    try:
        _furnish(usr, hosts, settings)
        with _started("dbus-daemon", "--system", "--nofork", "--nopidfile"), running() as process:
            yield process
    finally:
        # Threads that were started here have this thread's folders in common with it.
        namespaces.unshare(_CLONE_FS)
        namespaces.enter(home, Kind.MOUNT)
        os.close(home)
        os.chdir(folder)


@contextmanager
def running():
    """Run systemd-resolved itself."""
    with _started(_PROGRAM) as process:
        becomes(True, lambda: _run("resolvectl", "dns").returncode == 0)
        yield process


@contextmanager
def side(*argv):
    """Run a side of what is to be tried (see there): inside it is ready, and then ends in order."""
    command = [sys.executable, str(_SIDES), *argv]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        process.notes = []
        while (line := process.stdout.readline().strip()) != "ready":
            assert line, "it has ended"
            process.notes.append(line)
        yield process
        process.stdin.close()


def add(session, record):
    """Add a record to a session's cluster."""
    session.stdin.write(f"{record}\n")
    session.stdin.flush()
    assert session.stdout.readline() == "added\n"


def lookup(name):
    """What a program gets for a name through the C library: addresses, none without any."""
    done = _run("getent", "ahosts", name)
    assert done.returncode in {0, 2}, done.stderr
    return sorted({line.split()[0] for line in done.stdout.splitlines()})


def name_of(address):
    """The name that a program gets for an address; None without any."""
    done = _run("getent", "hosts", address)
    return done.stdout.split()[1] if done.returncode == 0 else None


def becomes(expected, look):
    """Wait until `look()` gives what is expected; fails with what it gives instead."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := look()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found == expected


def query(name, *options):
    """What systemd-resolved says of a name to who asks it by D-Bus."""
    done = _run("resolvectl", "query", "--legend=no", *options, name)
    return (done.stdout or done.stderr).strip()


def _run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def _started(*argv):
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def _furnish(usr, hosts, settings):
    # Without a note of it in /run, which is to be covered yet.
    machine.run("mount -n --make-rprivate /; mount -n -t tmpfs tmpfs /run; mkdir /run/dbus")
    etc = Path("/run/etc")
    (etc / "systemd").mkdir(parents=True)
    for name, rest in (("passwd", "{0}::/:/bin/false"), ("group", "")):
        text = Path("/etc", name).read_text()
        for account, number in _ACCOUNTS.items():
            if f"\n{account}:" not in text:
                text += f"{account}:x:{number}:{rest.format(number)}\n"
        (etc / name).write_text(text)
    (etc / "nsswitch.conf").write_text(f"passwd: files\ngroup: files\nhosts: {hosts}\n")
    (etc / "resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    resolved_conf = f"[Resolve]\nLLMNR=no\nMulticastDNS=no\n{settings}\n"
    (etc / "systemd" / "resolved.conf").write_text(resolved_conf)
    machine.run(
        f"mount -t overlay overlay -o lowerdir={usr}:/usr /usr;"
        "mount -t overlay overlay -o lowerdir=/run/etc:/etc /etc;"
        "install -d -o systemd-resolve -g systemd-resolve /run/systemd/resolve"
    )


def _make_links():
    machine.run(
        f"ip link add {LINK} type veth peer name {VPN_LINK};"
        f"ip address add 203.0.113.10/32 dev {LINK}; ip link set {LINK} up;"
        f"ip address add 203.0.113.11/32 dev {VPN_LINK}; ip link set {VPN_LINK} up;"
        f"ip address add {WORLD}/32 dev lo; ip address add {VPN}/32 dev lo"
    )
