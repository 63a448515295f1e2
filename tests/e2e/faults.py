"""What may happen to a session of any length, at random; after each it is to be well again.

for fault in faults.of_round(0):
    faults.happen(fault)
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

from lab.cluster import Lab
from tests.e2e import objects
from tests.e2e.laptop import Laptop
from tests.e2e.outage import REFUSAL, SILENCE, narrowed, outage
from tests.e2e.tow import Session
from tests.e2e.waiting import until

# For what needs a new agent on a busy machine; mostly it is a second.
BACK_SECONDS = 60.0
# While the API server is away, controllers and kubelets ask for it ever more seldom, and when it is
# back they hear of nothing until they ask again. client-go's reflectors (tools/cache/reflector.go,
# NewReflectorWithOptions) wait for up to 30 s, and as much again by chance. They do so twice: a new
# API server calls what they have seen too old, after which they first wait once more.
CONTROLLERS_SECONDS = 2 * (30.0 + 30.0)
# Of so many rounds there is one in which the agent is lost, the first, and one in which the API
# server starts anew. In between agents live for long enough to be seen to grow.
EVERY = 6
API_SERVER_AT = 3

Fault = Callable[[], None]


class Faults:
    """What may happen to one session. `back` tells of each that has how long the session took to be
    well, each time, as seen from here.
    """

    def __init__(self, lab: Lab, laptop: Laptop, session: Session, random: Random) -> None:
        self.back: dict[str, list[float]] = {}
        self._lab, self._laptop, self._session, self._random = lab, laptop, session, random
        self._controllers_hear_at = 0.0

    def of_round(self, number: int) -> list[Fault]:
        """Each that takes an agent nothing but time, and now and then one that does."""
        faults = [self.silence, self.refusal, self.narrow, self.frozen, self.frozen_agent]
        if number % EVERY == 0:
            faults.append(self._random.choice([self.deleted, self.deleted_at_once, self.killed]))
        if number % EVERY == API_SERVER_AT:
            faults.append(self.api_server)
        self._random.shuffle(faults)
        return faults

    def happen(self, fault: Fault) -> None:
        """Let one of them happen, and wait for the session to be well again."""
        fault()
        since = time.monotonic()
        self.await_well()
        self.back.setdefault(fault.__name__, []).append(round(time.monotonic() - since, 1))

    @property
    def controllers_seconds(self) -> float:
        """For how long Kubernetes may still be deaf since the API server was started anew."""
        return max(0.0, self._controllers_hear_at - time.monotonic())

    def await_well(self) -> str:
        """Wait for the session to be connected; gives the pod of its agent."""
        seconds = BACK_SECONDS + self.controllers_seconds
        return until(self._agent, seconds, f"the session to be back; before it was {self.back}")

    def agent_process(self) -> int:
        """The agent that the session is connected to."""
        pod = self._lab.kubectl_json("pod", self.await_well(), "-n", "default")
        (pid,) = objects.processes_of_pod(pod["metadata"]["uid"])
        return pid

    def silence(self) -> None:
        """The network is away."""
        with outage(self._laptop, SILENCE):
            self._pause(1, 9)

    def refusal(self) -> None:
        """The transports are cut, and new ones refused."""
        with outage(self._laptop, REFUSAL):
            self._pause(0.5, 3)

    def narrow(self) -> None:
        """The network is slow: what is sent waits there, and some of it is lost."""
        megabits, milliseconds = self._random.choice([(5, 200), (20, 400), (100, 50)])
        with narrowed(self._lab, megabits, milliseconds):
            self._pause(2, 8)

    def frozen(self) -> None:
        """As a laptop sleeps."""
        with _stopped(self._session.pid):
            self._pause(1, 5)

    def frozen_agent(self) -> None:
        """As when its node has too much to do."""
        with _stopped(self.agent_process()):
            self._pause(1, 5)

    def deleted(self) -> None:
        """The agent's pod is deleted."""
        self._delete()

    def deleted_at_once(self) -> None:
        """The same, without leave to end in order."""
        self._delete("--grace-period=0", "--force")

    def killed(self) -> None:
        """As when its node's memory is short."""
        pod = self.await_well()
        os.kill(self.agent_process(), signal.SIGKILL)
        self._await_loss(pod)

    def api_server(self) -> None:
        """The API server is started anew."""
        self._lab.kill_component("kube-apiserver")
        self._pause(0, 2)
        self._lab.start_component("kube-apiserver")
        self._controllers_hear_at = time.monotonic() + CONTROLLERS_SECONDS

    def _delete(self, *how: str) -> None:
        pod = self.await_well()
        # Its finalizer, the Job controller's, is none of the session's business.
        self._lab.kubectl("delete", "pod", pod, "-n", "default", "--wait=false", *how)
        self._await_loss(pod)

    def _await_loss(self, pod: str) -> None:
        seconds = BACK_SECONDS + self.controllers_seconds
        until(lambda: self._agent() != pod, seconds, f"the loss of {pod} to be noticed")

    def _agent(self) -> str:
        """The pod of the agent that the session is connected to now, if any."""
        assert self._session.process.poll() is None, self._session.stderr
        said = self._laptop.run(self._laptop.tow, "status", "-o", "json").stdout
        statuses = json.loads(said)
        return next((each["agent"] for each in statuses if each["state"] == "connected"), "")

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self._random.uniform(least, most))


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
