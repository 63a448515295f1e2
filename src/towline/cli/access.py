"""The cluster and namespace that a command is for, if one may work there."""

from __future__ import annotations

import click

from towline.errors import AccessError
from towline.kube.config import Access, load_access
from towline.settings.load import Settings


def permitted_access(kubeconfig: str | None, context: str | None, namespace: str | None) -> Access:
    """The access that --kubeconfig, --context and --namespace mean.

    Raises ConfigError, and AccessError when the distribution does not let one work in the
    namespace.
    """
    access, _ = permitted_scope(kubeconfig, context, namespace, everywhere=False)
    return access


def permitted_scope(
    kubeconfig: str | None, context: str | None, namespace: str | None, *, everywhere: bool
) -> tuple[Access, str | None]:
    """That access, and the namespace to look in: None for all of them, with `everywhere`."""
    found = load_access(kubeconfig_file=kubeconfig, context=context, namespace=namespace)
    if everywhere:
        return found, None
    _permit(found.namespace)
    return found, found.namespace


def _permit(namespace: str) -> None:
    running = click.get_current_context(silent=True)
    settings = running.find_root().obj if running else None
    shipped = settings.distribution if isinstance(settings, Settings) else None
    if shipped is None or shipped.permits(namespace):
        return
    allowed = ", ".join(shipped.allowed)
    raise AccessError(
        f"The namespace {namespace} is not one to work in, says {shipped.name}.",
        "Name another with -n" + (f": these are for that: {allowed}." if allowed else "."),
    )
