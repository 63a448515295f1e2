"""Random traffic under random faults: nothing is answered wrongly or hangs, and nothing grows.

SOAK_MINUTES says for how long, SOAK_SEED which faults and traffic: `make soak MINUTES=60`.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from random import Random, SystemRandom
from statistics import median

import pytest

from tests.e2e import objects
from tests.e2e.faults import Faults
from tests.e2e.soaking import PIECES, Hosts, hang_up, outspoken, traffic
from tests.e2e.test_connect_load import held, resident_bytes
from tests.e2e.tow import connected
from tests.e2e.waiting import until, until_at_most

SECONDS = float(os.environ.get("SOAK_MINUTES", "0.5")) * 60
SEED = int(os.environ.get("SOAK_SEED", "0")) or SystemRandom().randrange(1, 1 << 32)
# How far away the API server is.
ROUND_TRIPS_MS = (0, 20, 80)
# An agent outlives an API server that starts anew, which takes long on a busy machine.
GRACE_SECONDS = 60
CLEAN_SECONDS = 40.0
# Buffers are larger, by chance, in one half of the time than in the other.
GROWTH = 1.5
# For what is no fault: beginning, ending, and the last of each round.
AROUND_SECONDS = 300


class Soak:
    """One session, what it holds when nothing goes on, and what its processes take then."""

    def __init__(self, laptop, session, hosts, faults) -> None:
        self.laptop, self.session, self.hosts, self.faults = laptop, session, hosts, faults
        self.memory: dict[int, list[int]] = defaultdict(list)
        self.limits = until(self.at_first, CLEAN_SECONDS, "the first flows to have ended")

    def at_first(self) -> dict[str, int]:
        """What is held when there are no flows; nothing while there are some."""
        found = self.at_rest()
        return found if found["streams"] == 0 else {}

    def at_rest(self) -> dict[str, int]:
        """What is held when whoever has come to an end has said so."""
        hang_up(self.laptop, self.hosts)
        return held(self.session, self.faults.agent_process())

    def look(self) -> None:
        """Nothing is left of a round; take down what that has taken of memory."""
        until_at_most(self.at_rest, self.limits, CLEAN_SECONDS)
        agent = self.faults.agent_process()
        for pid in (self.session.pid, *self.session.helpers(), agent):
            self.memory[pid].append(resident_bytes(pid))

    def assert_no_growth(self) -> None:
        """No process has taken much more in the second half of its looks than in the first."""
        for taken in self.memory.values():
            half = len(taken) // 2
            if half:
                assert median(taken[half:]) < GROWTH * median(taken[:half]), self.memory


@pytest.fixture
def seed() -> int:
    print(f"SOAK_SEED={SEED} SOAK_MINUTES={SECONDS / 60:g}")
    return SEED


@pytest.mark.timeout(2 * SECONDS + AROUND_SECONDS)
def test_traffic_under_faults_is_right_or_fails_and_nothing_grows(lab, laptop, seed, no_trace):
    random, right = Random(seed), set()
    hosts = Hosts(*(objects.addresses_of_service(lab, name)[0] for name in ("web", "sample")))
    kubeconfig = lab.kubeconfig(rtt_ms=random.choice(ROUND_TRIPS_MS))
    grace = f"--grace={GRACE_SECONDS}"
    with outspoken(laptop), connected(laptop, "-c", kubeconfig, grace) as session:
        faults = Faults(lab, laptop, session, random)
        with traffic(laptop, random, hosts):
            time.sleep(2)  # whatever is made once, at first use, is made now
        soak = Soak(laptop, session, hosts, faults)
        end = time.monotonic() + SECONDS
        for number in itertools.count():
            with traffic(laptop, random, hosts) as flows:
                for fault in faults.of_round(number):
                    time.sleep(random.uniform(0.5, 3))
                    faults.happen(fault)
                    if time.monotonic() > end:
                        break
            print(number, faults.back, dict(flows.right), dict(flows.failed))
            assert flows.wrong == []
            right |= set(flows.right)
            soak.look()
            print({pid: taken[-1] >> 20 for pid, taken in soak.memory.items()})
            if time.monotonic() > end:
                break
        assert right == set(PIECES)
        soak.assert_no_growth()
        no_trace.cluster_seconds += faults.controllers_seconds
