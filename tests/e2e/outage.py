"""The laptop's way to the API server, cut for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab import network
from tests.e2e.laptop import Laptop

SILENCE = "drop"
REFUSAL = "reject with tcp reset"


@contextmanager
def outage(laptop: Laptop, verdict: str = SILENCE) -> Iterator[None]:
    """Nothing passes between laptop and API server meanwhile, in either direction.

    What the laptop sends there vanishes, or is answered with a reset.
    """
    rules = f"""
    table inet outage {{
        chain out {{
            type filter hook output priority -300;
            tcp dport {network.API_PORT} {verdict}
        }}
        chain in {{
            type filter hook input priority -300;
            iifname eth0 tcp sport {network.API_PORT} drop
        }}
    }}
    """
    _nft(laptop, rules)
    try:
        yield
    finally:
        _nft(laptop, "delete table inet outage")


def _nft(laptop: Laptop, rules: str) -> None:
    done = laptop.run("nft", rules)
    assert done.returncode == 0, done.stderr
