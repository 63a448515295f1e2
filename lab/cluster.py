"""The lab as one object: what the tests, the demo and the command line use."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import bringup, components, kubeconfigs, laptop, network, node, processes, users
from lab.components import Component
from lab.errors import LabError
from lab.kubectl import Kubectl
from lab.layout import Layout, default_name

_RUN_SECONDS = 60.0


class Lab:
    """A node and a laptop. Everything is found by the lab's name: objects of this class hold
    nothing, and any number of them, in any number of processes, may stand for the same lab.
    """

    def __init__(self, name: str | None = None) -> None:
        self.layout = Layout(name or default_name())

    def up(self) -> None:
        """Bring it up, or repair what is not as it should be; return when all is ready.

        Raises LabError, with what to do about it.
        """
        bringup.up(self.layout)

    def down(self) -> None:
        """Remove all of it; nothing happens when there is none."""
        bringup.down(self.layout)

    def status(self) -> dict[str, int | None]:
        """The components with their process ids; None for one that does not run."""
        if node.first_pid(self.layout) is None:
            return dict.fromkeys(components.MAKERS)
        return {
            name: components.pid_of(self.layout, make(self.layout))
            for name, make in components.MAKERS.items()
        }

    def run_in_laptop(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout_seconds: float = _RUN_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the laptop, with kubectl on its PATH and the administrator's
        KUBECONFIG unless `env` has one; without `env` it gets this process's environment. Its
        exit code is the caller's to look at. Raises subprocess.TimeoutExpired.
        """
        return self._run("laptop", argv, env, stdin, timeout_seconds)

    def run_in_node(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout_seconds: float = _RUN_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """The same in the node's network, from where pods and services are reachable."""
        return self._run("node", argv, env, stdin, timeout_seconds)

    def popen_in_laptop(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program on the laptop; `options` are subprocess.Popen's. The process started
        is the program itself: its pid, its signals and its exit code are those of the result.
        """
        options.setdefault("env", laptop.own_environment())
        return subprocess.Popen(laptop.command(self.layout, "laptop", argv), **options)

    def popen_in_node(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """The same in the node's network."""
        options.setdefault("env", laptop.own_environment())
        return subprocess.Popen(laptop.command(self.layout, "node", argv), **options)

    def kubectl(self, *arguments: str, stdin: str = "", timeout_seconds: float = 60) -> str:
        """What kubectl prints for the administrator. Raises LabError when it fails."""
        return Kubectl(self.layout).run(*arguments, stdin=stdin, timeout_seconds=timeout_seconds)

    def kubectl_json(self, *arguments: str) -> Any:
        """What `kubectl get ARGUMENTS -o json` prints, decoded."""
        return Kubectl(self.layout).get(*arguments)

    def kubeconfig(self, user: str = users.ADMIN, rtt_ms: int = 0) -> Path:
        """The kubeconfig of a user; with `rtt_ms` one through which the API server is that
        far away. Raises LabError for a user that is not there.
        """
        original = users.find(self.layout, user)
        if rtt_ms == 0:
            return original
        if not 0 < rtt_ms <= network.MAX_RTT_MS:
            raise LabError(f"The round-trip time is 1 to {network.MAX_RTT_MS} ms.")
        bringup.start_component(self.layout, components.delay(rtt_ms))
        return kubeconfigs.delayed(original, rtt_ms)

    def add_user(
        self, name: str, rules: Iterable[users.Rule], *, namespace: str = "default"
    ) -> Path:
        """Make a user with a Role of just these rules (PolicyRule objects) in the namespace;
        returns the path of its kubeconfig. Called again, it changes the rules.
        """
        return users.kubeconfig(self.layout, name, rules, namespace=namespace)

    def kill_component(self, name: str) -> None:
        """Kill a component, such as 'kube-apiserver'; it stays down until `start_component` or
        `up`. Raises LabError when it does not run.
        """
        pid = components.pid_of(self.layout, self._component(name))
        if pid is None:
            raise LabError(f"{name} does not run.")
        processes.kill([pid])

    def start_component(self, name: str) -> None:
        """Start a component unless it runs; return when it is ready."""
        bringup.start_component(self.layout, self._component(name))

    def dns_queries(self) -> list[dict[str, Any]]:
        """What the world's DNS server was asked so far: time, client, transport, name, type."""
        return _json_lines(self.layout.dns_log)

    def api_requests(self) -> list[dict[str, Any]]:
        """The API server's audit events (audit.k8s.io/v1) of people's requests so far."""
        return _json_lines(self.layout.audit_log)

    def _run(
        self,
        place: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        stdin: str,
        timeout_seconds: float,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            laptop.command(self.layout, place, argv),
            env=laptop.own_environment() if env is None else dict(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )

    def _component(self, name: str) -> Component:
        if name not in components.MAKERS:
            raise LabError(f"There is no component '{name}'.")
        return components.MAKERS[name](self.layout)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    # The last line may still be on its way.
    complete = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]
