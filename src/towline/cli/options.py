"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which cluster, as whom, and in which namespace."""
    for option in reversed(
        (
            click.option(
                "-n",
                "--namespace",
                envvar="TOW_NAMESPACE",
                help="Namespace whose bare service names are meant and where the agent runs. "
                "Default: the context's.",
            ),
            click.option(
                "-c",
                "--kubeconfig",
                type=click.Path(),
                envvar="TOW_KUBECONFIG",
                help="A kubeconfig file, instead of KUBECONFIG or ~/.kube/config.",
            ),
            click.option(
                "--context", envvar="TOW_CONTEXT", help="Which context of the kubeconfig to use."
            ),
        )
    ):
        function = option(function)
    return function


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
