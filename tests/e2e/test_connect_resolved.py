"""A laptop whose programs ask systemd-resolved, past all nameservers."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from lab import network, resolved
from tests.e2e import objects

SCRIPT = Path(__file__).with_name("resolvedlaptop.py")
OUTSIDE = ["198.51.100.7", "2001:db8::7"]


@pytest.fixture(scope="module")
def _fast_open(laptop):
    """The laptop's kernel makes a key when somebody first listens as systemd-resolved does."""

    def listen():
        with socket.socket() as listening:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 1)

    laptop.call(listen)


@pytest.mark.usefixtures("_fast_open", "no_trace")
def test_programs_find_the_clusters_names_and_the_worlds(laptop, lab):
    done = laptop.run(sys.executable, SCRIPT, resolved.usr(), network.DNS_V4, laptop.tow)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    other = sorted(objects.addresses_of_service(lab, "web", "other-ns"))
    assert said["connected"] == {
        "web": sorted(objects.addresses_of_service(lab, "web")),
        "web.other-ns": other,
        "web.other-ns.svc.cluster.local": other,
        "outside.example": OUTSIDE,
        "nosuch.example": [],
    }
    assert {name for name, found in said["afterwards"].items() if found} == {"outside.example"}
    assert "note" not in [each["event"] for each in said["events"]]
    assert {each["verdict"] for each in said["check"] if each["name"] == "dns"} == {"ok"}
