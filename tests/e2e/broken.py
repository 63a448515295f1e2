"""Sessions that are gone, and what they leave when their agents may not put it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.cluster import Lab
from tests import documented
from tests.e2e import objects
from tests.e2e.laptop import Laptop
from tests.e2e.tow import Session, starting
from tests.e2e.waiting import until
from towline.agent.telling import GONE, last_told

NAMESPACE = "team-a"
# May exchange, but make no Role for the agent.
NO_ROLES = "exchanges-without-roles"
RULES = [*documented.rules("connect"), *documented.rules("exchange")]
# Grace, and time for the agent's log to arrive.
_GONE_SECONDS = 30.0


@contextmanager
def exchanging_without_roles(lab: Lab, laptop: Laptop, *arguments: str) -> Iterator[Session]:
    """An exchange of the service web that is ready, whose agent may put nothing back."""
    with objects.user(lab, NO_ROLES, RULES, namespace=NAMESPACE):
        who = as_user(lab, laptop, NO_ROLES)
        what = ("web", "--expose=8080:80", *who, *arguments)
        with starting(laptop, *what, command="exchange") as session:
            session.ready()
            yield session


@contextmanager
def leftovers(lab: Lab, laptop: Laptop) -> Iterator[str]:
    """What that leaves when it is killed, as the agent knows by now; gives the agent's name."""
    with exchanging_without_roles(lab, laptop) as session:
        session.process.kill()
        session.end()
        await_gone(lab, session)
        yield agent_of(lab)


def await_gone(lab: Lab, session: Session) -> None:
    """Wait until its agent says that it is gone."""
    log = ("logs", session.ready()["agent"], "-n", NAMESPACE)
    until(
        lambda: last_told(lab.kubectl(*log)) == GONE, _GONE_SECONDS, "the agent to miss its session"
    )


def agent_of(lab: Lab) -> str:
    """The name of the Job that the service web leads to."""
    name: str = service(lab)["spec"]["selector"]["towline/agent"]
    return name


def service(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = lab.kubectl_json("service", "web", "-n", NAMESPACE)
    return found


def annotate(lab: Lab, value: str) -> None:
    """Change the record of the service web, as `towline/interception=…`, or `…-` for none."""
    lab.kubectl("annotate", "service", "web", "-n", NAMESPACE, "--overwrite", value)


def delete_job(lab: Lab, name: str, cascade: str = "foreground") -> None:
    lab.kubectl("delete", "job", name, "-n", NAMESPACE, f"--cascade={cascade}")


def as_user(lab: Lab, laptop: Laptop, name: str) -> tuple[str | Path, ...]:
    """The options of a command that somebody gives in the namespace."""
    return ("-c", laptop.input(name, lab.kubeconfig(name).read_text()), "-n", NAMESPACE)


@contextmanager
def allowed(lab: Lab, laptop: Laptop, command: str) -> Iterator[tuple[str | Path, ...]]:
    """The options by which it is given by somebody who may do what is documented, and no more."""
    name = f"{command}s-only"
    with objects.user(lab, name, documented.rules(command), namespace=NAMESPACE):
        yield as_user(lab, laptop, name)


def told(laptop: Laptop, command: str, *arguments: str | Path) -> Any:
    """What a command prints as JSON; it has done as it was asked, and has had nothing to add."""
    done = laptop.run(laptop.tow, command, "-o", "json", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return json.loads(done.stdout)
