"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from towline.cli import offers
from towline.cli.schema import Checked

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which cluster, as whom, and in which namespace."""
    return together(
        click.option(
            "-n",
            "--namespace",
            shell_complete=offers.namespaces,
            help="Namespace of names without one, and of the agent. Default: the context's.",
        ),
        click.option(
            "-c",
            "--kubeconfig",
            type=click.Path(),
            help="A kubeconfig file, instead of KUBECONFIG or ~/.kube/config.",
        ),
        click.option(
            "--context",
            shell_complete=offers.contexts,
            help="Which context of the kubeconfig to use.",
        ),
    )(function)


def expose_option(*, required: bool, extra: str = "") -> Decorator:
    """Which ports of this machine answer for which."""
    return click.option(
        "--expose",
        "exposed",
        cls=Checked,
        check=_check_exposed,
        multiple=True,
        required=required,
        shell_complete=offers.exposed,
        metavar="LOCAL[:REMOTE],…",
        help="Port of this machine, and of the cluster if that is another; /udp for UDP." + extra,
    )


def _check_exposed(texts: Iterable[str]) -> None:
    from towline.features.local import expose  # noqa: PLC0415 (which takes long)

    expose.wishes(texts)


def proxy_protocol_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Whether programs of this machine are told of their clients."""
    return click.option(
        "--proxy-protocol",
        is_flag=True,
        help="Tell programs here their client's address: each TCP connection to them begins with a "
        "header of the PROXY protocol, version 2.",
    )(function)


def inject_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Whether the agent's pod gets a sidecar of Istio, and of which control plane."""
    return click.option(
        "--inject",
        is_flag=False,
        flag_value="",
        metavar="[REVISION]",
        help="Give the agent's pod a sidecar of Istio, of the default revision or another one.",
    )(function)


def addresses_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which addresses are the cluster's to answer, besides those that it has, or but for some."""
    return together(
        click.option(
            "--include",
            cls=Checked,
            check=_check_included,
            multiple=True,
            metavar="CIDR|ADDRESS|HOST",
            help="Reach this through the cluster, too; may be repeated.",
        ),
        click.option(
            "--exclude",
            cls=Checked,
            check=_check_excluded,
            multiple=True,
            metavar="CIDR|ADDRESS|HOST",
            help="Never reach this through the cluster, whatever else says so; may be repeated.",
        ),
    )(function)


def pods_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Whether addresses of pods are the cluster's to answer."""
    return click.option(
        "--pods/--no-pods",
        default=True,
        show_default=True,
        help="Whether the ranges of pods are reached, or only pods that have names.",
    )(function)


def _check_included(texts: Iterable[str]) -> None:
    from towline.features.uplink import targets  # noqa: PLC0415 (which takes long)

    targets.included(texts)


def _check_excluded(texts: Iterable[str]) -> None:
    from towline.features.uplink import targets  # noqa: PLC0415 (which takes long)

    targets.excluded(texts)


def all_namespaces_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """All namespaces instead of one."""
    return click.option(
        "-A", "--all-namespaces", is_flag=True, help="Look in all namespaces, whatever -n says."
    )(function)


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Text for people or JSON for machines."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="How to print; json gives one document or event a line.",
    )(function)


def together(*options: Decorator) -> Decorator:
    """Several options as one, in the order of the command's help."""

    def give(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return give
