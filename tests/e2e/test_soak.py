"""Random traffic under random faults: nothing is answered wrongly or hangs, and nothing is left.

SOAK_MINUTES says for how long, SOAK_SEED which faults and traffic: `make soak MINUTES=60`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from random import Random, SystemRandom
from statistics import median

import pytest

from tests.e2e import objects
from tests.e2e.outage import REFUSAL, SILENCE, outage
from tests.e2e.soaking import Hosts, traffic
from tests.e2e.test_connect_again import CONTROLLERS_SECONDS, agent_of, delete_at_once
from tests.e2e.test_connect_load import held, resident_bytes
from tests.e2e.tow import connected
from tests.e2e.waiting import until, until_at_most

SECONDS = float(os.environ.get("SOAK_MINUTES", "0.5")) * 60
SEED = int(os.environ.get("SOAK_SEED", "0")) or SystemRandom().randrange(1, 1 << 32)
# An API server takes seconds to start anew: in a short run one such fault is enough.
API_SERVER_EVERY = 10
# For what needs a new agent on a busy machine; mostly it is a second.
BACK_SECONDS = 60
CLEAN_SECONDS = 40
# What bulk that waits may come to, by luck, in one half of the time more than in the other.
LEAKED_BYTES = 48 << 20


class Faults:
    """What may happen to one session, each followed by the session's return."""

    def __init__(self, lab, laptop, session, random: Random) -> None:
        self.lab, self.laptop, self.session, self.random = lab, laptop, session, random
        self.happened: list[str] = []

    def one(self) -> None:
        """One of them, and the wait until all is well again."""
        number = len(self.happened) + 1
        may_be: list[Callable[[], None]] = [self.silence, self.refusal, self.stopped, self.deleted]
        fault = self.api_server if number % API_SERVER_EVERY == 4 else self.random.choice(may_be)
        self.happened.append(fault.__name__)
        fault()
        until(self.is_well, BACK_SECONDS, f"the session to be back after {self.happened}")

    def is_well(self) -> bool:
        """Whether its link is up."""
        assert self.session.process.poll() is None, self.session.stderr
        return is_connected(self.laptop)

    def silence(self) -> None:
        """The network is away."""
        with outage(self.laptop, SILENCE):
            time.sleep(self.random.uniform(1, 9))

    def refusal(self) -> None:
        """The transports are cut, and new ones refused."""
        with outage(self.laptop, REFUSAL):
            time.sleep(self.random.uniform(0.5, 3))

    def stopped(self) -> None:
        """As a laptop sleeps."""
        self.session.process.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(1, 5))
        self.session.process.send_signal(signal.SIGCONT)

    def deleted(self) -> None:
        """The agent's pod is deleted."""
        pod = agent_of(self.laptop)
        delete_at_once(self.lab, pod)
        until(lambda: not is_connected(self.laptop) or agent_of(self.laptop) != pod, 20, "its end")

    def api_server(self) -> None:
        """The API server is started anew."""
        self.lab.kill_component("kube-apiserver")
        time.sleep(self.random.uniform(0, 2))
        self.lab.start_component("kube-apiserver")


def is_connected(laptop) -> bool:
    return '"state": "connected"' in laptop.run(laptop.tow, "status", "-o", "json").stdout


def agent_process(lab, laptop) -> int:
    uid = lab.kubectl_json("pod", agent_of(laptop), "-n", "default")["metadata"]["uid"]
    (pid,) = objects.processes_of_pod(uid)
    return pid


def idle(session, agent: int) -> dict[str, int]:
    """What is held when no flow is there any more."""
    return until(
        lambda: figures if (figures := held(session, agent))["streams"] == 0 else None,
        CLEAN_SECONDS,
        "the flows to have ended",
    )


@pytest.fixture
def seed() -> int:
    print(f"SOAK_SEED={SEED} SOAK_MINUTES={SECONDS / 60:g}")
    return SEED


@pytest.mark.skipif("SOAK_MINUTES" not in os.environ, reason="on request, by make soak")
def test_traffic_under_faults_is_right_or_fails_and_leaves_nothing(lab, laptop, seed, no_trace):
    no_trace.cluster_seconds = CONTROLLERS_SECONDS
    random = Random(seed)
    hosts = Hosts(*(objects.addresses_of_service(lab, name)[0] for name in ("web", "sample")))
    memory: list[int] = []
    with connected(laptop, "--grace=30") as session:
        with traffic(laptop, Random(seed), hosts):
            time.sleep(2)  # whatever is made once, at first use, is made now
        before = idle(session, agent_process(lab, laptop))
        faults = Faults(lab, laptop, session, random)
        end = time.monotonic() + SECONDS
        with traffic(laptop, random, hosts) as flows:
            while time.monotonic() < end:
                time.sleep(random.uniform(0.5, 3))
                faults.one()
                memory.append(resident_bytes(session.pid))
        print(faults.happened, flows.right, flows.failed)
        assert flows.wrong == []
        assert min(flows.right.values()) > 0
        until(lambda: is_connected(laptop), BACK_SECONDS, "the session to be back")
        agent = agent_process(lab, laptop)
        until_at_most(lambda: held(session, agent), before, CLEAN_SECONDS)
        half = len(memory) // 2
        if half:
            assert median(memory[half:]) - median(memory[:half]) < LEAKED_BYTES, memory
