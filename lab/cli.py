"""The command `lab`."""

from __future__ import annotations

import sys
from typing import Any

import click

from lab import istio, laptop, network, users
from lab.bringup import demand_root
from lab.cluster import Lab
from lab.errors import LabError


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LabError as error:
            click.echo(str(error), err=True)
            sys.exit(1)


@click.group(cls=_Group)
@click.option("--name", envvar="TOWLINE_LAB", help="Which lab; default: this checkout's own.")
@click.pass_context
def main(context: click.Context, name: str | None) -> None:
    """A real Kubernetes for the tests: a node and a laptop on this machine.

    \b
    lab up
    lab exec laptop -- kubectl get pods -A
    lab exec node -- curl http://10.96.0.1
    lab down
    """
    context.obj = Lab(name)


@main.command()
@click.pass_obj
def up(lab: Lab) -> None:
    """Bring it up, or repair what died; return when all is ready."""
    lab.up()


@main.command()
@click.pass_obj
def down(lab: Lab) -> None:
    """Remove every trace of it but what was built."""
    lab.down()


@main.command("istio")
@click.option("--remove", is_flag=True, help="Take it away again.")
@click.pass_obj
def with_istio(lab: Lab, *, remove: bool) -> None:
    """Add Istio, with injected sidecars, to a lab that is up. Built once, in minutes."""
    (istio.remove if remove else istio.ensure)(lab.layout)


@main.command()
@click.pass_obj
def status(lab: Lab) -> None:
    """Say what runs; exit 1 unless all does."""
    demand_root()
    found = lab.status()
    if not any(found.values()):
        raise LabError(f"Lab {lab.layout.name} is down.")
    for name, pid in found.items():
        click.echo(f"{name:<26}{'dead' if pid is None else pid}")
    if None in found.values():
        raise LabError("Repair it with 'uv run lab up'.")


@main.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("place", type=click.Choice(["laptop", "node"]))
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(lab: Lab, place: str, argv: tuple[str, ...]) -> None:
    """Run a program on the laptop or the node, with kubectl on its PATH."""
    laptop.execute(lab.layout, place, argv, laptop.own_environment())


@main.command()
@click.option("--rtt", type=click.IntRange(0, network.MAX_RTT_MS), default=0, metavar="MS")
@click.option("--user", default=users.ADMIN, show_default=True)
@click.pass_obj
def kubeconfig(lab: Lab, rtt: int, user: str) -> None:
    """Print the path of a kubeconfig; with --rtt of one whose API server is that far away."""
    click.echo(lab.kubeconfig(user, rtt))


if __name__ == "__main__":
    main()
