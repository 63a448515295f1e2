"""The laptop's way to the cluster, cut or slow for a while."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from lab import network
from lab.cluster import Lab
from tests.e2e.laptop import Laptop

SILENCE = "drop"
REFUSAL = "reject with tcp reset"

Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]

_DELAYED = (network.DELAYED_API_PORT, network.DELAYED_API_PORT + network.MAX_RTT_MS)


@contextmanager
def outage(laptop: Laptop, verdict: str = SILENCE) -> Iterator[None]:
    """Nothing passes between laptop and API server meanwhile, in either direction.

    What the laptop sends there vanishes, or is answered with a reset.
    """
    with outage_of(laptop.lab, verdict):
        yield


@contextmanager
def outage_of(lab: Lab, verdict: str = SILENCE) -> Iterator[None]:
    """The same for the laptop of a lab, however far away its API server is."""
    ports = f"{{ {network.API_PORT}, {_DELAYED[0]}-{_DELAYED[1]} }}"
    rules = f"""
    table inet outage {{
        chain out {{
            type filter hook output priority -300;
            tcp dport {ports} {verdict}
        }}
        chain in {{
            type filter hook input priority -300;
            iifname eth0 tcp sport {ports} drop
        }}
    }}
    """
    _nft(lab, rules)
    try:
        yield
    finally:
        _nft(lab, "delete table inet outage")


@contextmanager
def cut(laptop: Laptop, port: int) -> Iterator[None]:
    """Both ends of the connection from that port of the laptop are reset meanwhile."""
    rules = f"""
    table inet cut{port} {{
        chain out {{
            type filter hook output priority -300;
            tcp sport {port} {REFUSAL}
        }}
        chain in {{
            type filter hook input priority -300;
            tcp dport {port} {REFUSAL}
        }}
    }}
    """
    _nft(laptop.lab, rules)
    try:
        yield
    finally:
        _nft(laptop.lab, f"delete table inet cut{port}")


@contextmanager
def narrowed(lab: Lab, megabits: int, milliseconds: int) -> Iterator[None]:
    """So much passes in a second meanwhile, either way; what has to wait for longer is lost."""
    shape = f"root tbf rate {megabits}mbit burst 64kb latency {milliseconds}ms".split()
    ends = ((lab.run_in_laptop, "eth0"), (lab.run_in_node, "up0"))
    with ExitStack() as stack:
        for run, device in ends:
            _tc(run, "add", device, *shape)
            stack.callback(_tc, run, "del", device, "root")
        yield


def _tc(run: Run, verb: str, device: str, *what: str) -> None:
    done = run(["tc", "qdisc", verb, "dev", device, *what])
    assert done.returncode == 0, done.stderr


def _nft(lab: Lab, rules: str) -> None:
    done = lab.run_in_laptop(["nft", rules])
    assert done.returncode == 0, done.stderr
