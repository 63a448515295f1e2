"""What the options about the link and its agent come to."""

from __future__ import annotations

import pytest

from tests.unit.cli.test_agentoptions import Told, context
from towline.cli.linkoptions import link_of
from towline.cluster.job import AgentSpec
from towline.errors import UsageError


@pytest.mark.parametrize("command", [("connect",), ("proxy",), ("forward", "web")])
def test_agent_is_shared_by_all_commands_alike(command: tuple[str, ...]) -> None:
    with context(*command, "--share") as chosen:
        agent = link_of(chosen.params, Told()).agent
    with context("connect", "--share", "--image=another") as chosen:
        other = link_of(chosen.params, Told()).agent
    assert isinstance(agent, AgentSpec)
    assert isinstance(other, AgentSpec)
    assert agent.shared
    assert agent.name == other.name


def test_agent_is_ones_own_by_default() -> None:
    with context("connect") as chosen:
        agent = link_of(chosen.params, Told()).agent
    assert isinstance(agent, AgentSpec)
    assert not agent.shared


def test_agent_in_somebodys_pod_is_not_shared() -> None:
    with context("connect", "--share", "--via=web-0") as chosen:
        with pytest.raises(UsageError, match="--share cannot be had with --via"):
            link_of(chosen.params, Told())
