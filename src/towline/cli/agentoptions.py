"""Options of the commands that start an agent: what it is, and how its pod is to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
from click.core import ParameterSource

from towline.cli import offers
from towline.cli.options import Decorator, together
from towline.cli.schema import Checked
from towline.cluster import defaults, podwishes, quantity
from towline.cluster.guest import HostPod
from towline.cluster.job import AgentSpec
from towline.cluster.podwishes import PodWishes
from towline.cluster.sidecar import Sidecar
from towline.errors import UsageError
from towline.features.state import Narrator

# Those that an ephemeral container has as well.
OF_CONTAINER = ("image_pull_policy",)


class PodOption(Checked):
    """One about the agent's pod, which the help shows apart: most users need none of them."""

    section = "The agent's pod"


def _about_pod(
    name: str, check: Callable[[Any], object] = lambda _: None, **about: Any
) -> Decorator:
    return click.option(name, cls=PodOption, check=check, **about)


agent_options: Decorator = together(
    click.option(
        "-i",
        "--image",
        default=defaults.IMAGE,
        show_default=True,
        help="Image of the agent: any with Python 3.9 or newer.",
    ),
    click.option(
        "--grace",
        type=click.IntRange(min=1),
        default=defaults.GRACE_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="How long the agent waits for this session when that is gone without a word.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=1),
        default=120,
        show_default=True,
        metavar="SECONDS",
        help="How long the agent may take to start.",
    ),
    _about_pod(
        "--image-pull-secret",
        multiple=True,
        metavar="NAME",
        help="Secret of the namespace with which nodes pull the image; may be repeated.",
    ),
    _about_pod(
        "--image-pull-policy",
        type=click.Choice(podwishes.PULL_POLICIES),
        default=podwishes.PULL_POLICIES[0],
        show_default=True,
        help="When nodes pull the image.",
    ),
    _about_pod(
        "--service-account",
        metavar="NAME",
        help="Service account of the namespace, instead of the default one.",
    ),
    _about_pod(
        "--label",
        podwishes.parse_labels,
        multiple=True,
        metavar="KEY=VALUE",
        help="Label of the pod, and of all that is made for it; may be repeated.",
    ),
    _about_pod(
        "--annotation",
        podwishes.parse_annotations,
        multiple=True,
        metavar="KEY=VALUE",
        help="Annotation of the pod and its Job; may be repeated.",
    ),
    _about_pod(
        "--node-selector",
        podwishes.parse_node_selector,
        multiple=True,
        metavar="KEY=VALUE",
        help="Label that its node must have; may be repeated.",
    ),
    _about_pod(
        "--toleration",
        podwishes.parse_tolerations,
        multiple=True,
        metavar="KEY[=VALUE][:EFFECT]",
        help="Taint that its node may have; '*' for any; may be repeated.",
    ),
    _about_pod("--priority-class", metavar="NAME", help="PriorityClass of the pod."),
    _about_pod(
        "--cpu",
        quantity.cpu,
        metavar="REQUEST[:LIMIT]",
        help="Processors that it asks for, and may use at most: 100m, 0.1:2.",
    ),
    _about_pod(
        "--memory",
        quantity.memory,
        metavar="REQUEST[:LIMIT]",
        help="Memory that it asks for, and may use at most: 256Mi, 64Mi:1Gi.",
    ),
    _about_pod(
        "--dns-policy",
        type=click.Choice(podwishes.DNS_POLICIES),
        help="Where the pod, and so this machine, looks up the cluster's names.",
    ),
    _about_pod(
        "--pod-patch",
        podwishes.load_patch,
        type=click.Path(),
        metavar="FILE",
        help="For all else: part of a Pod, in YAML or JSON, that is merged into it.",
    ),
)


via_options: Decorator = together(
    click.option(
        "--via",
        metavar="POD",
        shell_complete=offers.pods,
        help="Make no pod: run the agent in this one, which has Python 3.9 or newer.",
    ),
    click.option(
        "--container",
        metavar="NAME",
        help="With --via: the pod's container. Default: its main one.",
    ),
)


def note_unused(tell: Narrator, why: str) -> None:
    """Tell of options about the agent's own pod, as it has none, if they were given for this."""
    context = click.get_current_context()
    unused = [
        each.opts[0]
        for each in context.command.params
        if isinstance(each, PodOption)
        and each.name not in OF_CONTAINER
        and context.get_parameter_source(str(each.name)) is ParameterSource.COMMANDLINE
    ]
    if unused:
        tell.event("note", f"{', '.join(unused)}: without effect, as {why}.")


def agent_or_host(chosen: Mapping[str, Any], tell: Narrator) -> AgentSpec | HostPod:
    """The agent that the options ask for, or the pod where it is to run. Raises UsageError."""
    if chosen["via"]:
        note_unused(tell, "the agent runs in a pod that is there already")
        return HostPod(chosen["via"].removeprefix("pod/"), chosen["container"] or "")
    if chosen["container"]:
        raise UsageError("--container is one of the pod that --via names.")
    return agent_spec(chosen)


def agent_spec(chosen: Mapping[str, Any]) -> AgentSpec:
    """The agent that the options ask for. Raises UsageError."""
    inject = chosen.get("inject")
    return AgentSpec(
        image=chosen["image"],
        grace_seconds=chosen["grace"],
        pod=PodWishes(
            pull_policy=chosen["image_pull_policy"],
            pull_secrets=chosen["image_pull_secret"],
            service_account=chosen["service_account"] or "",
            labels=podwishes.parse_labels(chosen["label"]),
            annotations=podwishes.parse_annotations(chosen["annotation"]),
            node_selector=podwishes.parse_node_selector(chosen["node_selector"]),
            tolerations=podwishes.parse_tolerations(chosen["toleration"]),
            priority_class=chosen["priority_class"] or "",
            cpu=quantity.cpu(chosen["cpu"]) if chosen["cpu"] else None,
            memory=quantity.memory(chosen["memory"]) if chosen["memory"] else None,
            dns_policy=chosen["dns_policy"] or "",
            patch=podwishes.load_patch(chosen["pod_patch"]) if chosen["pod_patch"] else {},
        ),
        sidecar=None if inject is None else Sidecar.of_revision(inject),
    )
