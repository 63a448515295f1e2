"""What the options about the agent come to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from towline.cli import main as cli
from towline.cli.agentoptions import agent_or_host, agent_spec, note_unused
from towline.cluster.guest import HostPod
from towline.cluster.quantity import Amount
from towline.errors import UsageError

ROOT = click.Context(cli.main)


def context(*words: str, settings: Mapping[str, Any] | None = None) -> click.Context:
    """A command's context, with what settings say of it."""
    name, *rest = words
    command = cli.main.get_command(ROOT, name)
    assert command
    return command.make_context(name, rest, default_map=dict(settings or {}))


def test_options_come_to_an_agent(tmp_path: Path) -> None:
    patch = tmp_path / "patch.yaml"
    patch.write_text("spec: {runtimeClassName: gvisor}")
    words = ["--label=a=b", "--cpu=1:2", "--toleration=*", f"--pod-patch={patch}", "--grace=7"]
    spec = agent_spec(context("preview", "web", "--expose=80", *words).params)
    assert spec.grace_seconds == 7
    assert spec.pod.labels == {"a": "b"}
    assert spec.pod.cpu == Amount("1", "2")
    assert spec.pod.tolerations == ({"operator": "Exists"},)
    assert spec.pod.patch == {"spec": {"runtimeClassName": "gvisor"}}


class Told:
    """What was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def progress(self, message: str) -> None:
        self.said.append(message)

    def event(self, name: str, message: str, **_: Any) -> None:
        self.said.append(f"{name}: {message}")


def test_pod_that_is_there_is_taken_instead() -> None:
    told = Told()
    with context("connect", "--via=pod/web-0", "--label=a=b") as chosen:
        assert agent_or_host(chosen.params, told) == HostPod("web-0")
    assert "--label: without effect" in told.said[0]
    with context("connect", "--container=app") as chosen:
        with pytest.raises(UsageError, match="--via"):
            agent_or_host(chosen.params, told)


def test_options_without_effect_are_told_if_they_were_given_and_not_set_for_all() -> None:
    told = Told()
    words = ("exchange", "deploy/web", "--label=a=b", "--image-pull-policy=Always")
    with context(*words, settings={"cpu": "1"}):
        note_unused(told, "there is no pod")
    assert told.said == ["note: --label: without effect, as there is no pod."]
    with context("exchange", "deploy/web", settings={"cpu": "1"}):
        note_unused(told, "there is no pod")
    assert len(told.said) == 1
