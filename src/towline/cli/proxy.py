"""`tow proxy`: SOCKS and HTTP on one port of this machine, for programs that take a proxy."""

from __future__ import annotations

import shlex
from ipaddress import ip_address
from typing import Any

import click

from towline.cli.access import permitted_access
from towline.cli.agentoptions import agent_options, via_options
from towline.cli.command import Command
from towline.cli.detach import detach_option, run, run_in_background
from towline.cli.linkoptions import link_of, share_option, transport_option
from towline.cli.nameoptions import name_options, names_of
from towline.cli.options import addresses_options, cluster_options, output_option
from towline.cli.output import narrator
from towline.cli.schema import Checked
from towline.errors import UsageError
from towline.features.state import Narrator
from towline.features.uplink import targets
from towline.features.uplink.proxy.proxy import Proxy, ProxyOptions
from towline.wire.target import Port

LISTEN = "127.0.0.1:1080"

EPILOG = """\b
Examples:
  tow proxy                            on 127.0.0.1:1080, until Ctrl-C
  eval "$(tow proxy --detach)"         and have this shell's programs use it
  tow proxy --listen 127.0.0.1:0       on a port that is free
  tow proxy --all                      all connections by the cluster, not only those to it
  tow proxy --include db.corp          with a host besides that only the cluster reaches
"""


def _listen(text: str) -> tuple[str, int]:
    """Read `ADDRESS:PORT`, or a port of the loopback. Raises UsageError."""
    host, _, port = text.rpartition(":")
    host = host or "127.0.0.1"
    try:
        address = str(ip_address(host[1:-1] if host.startswith("[") else host))
        return address, int(port) and Port.parse(port).number
    except ValueError:
        raise UsageError(
            f"'{text}' says not where to listen.", f"Write ADDRESS:PORT, as in {LISTEN}."
        ) from None


@click.command("proxy", cls=Command, epilog=EPILOG)
@cluster_options
@click.option(
    "--listen",
    cls=Checked,
    check=_listen,
    default=LISTEN,
    show_default=True,
    metavar="[ADDRESS:]PORT",
    help="Where to listen; on a free port for 0.",
)
@click.option("--all", "everything", is_flag=True, help="Reach all from the cluster, not it only.")
@name_options
@addresses_options
@agent_options
@via_options
@share_option
@transport_option
@detach_option
@output_option
def command(**chosen: Any) -> int:
    """Be a proxy into the cluster: SOCKS5 and HTTP on one port of this machine.

    Programs that go by it reach services by their names, and pods, as in a pod of the namespace;
    all else they reach from here, as ever. When it is ready it prints the environment by which
    programs find it, for a shell to read. Needs no root. Ctrl-C ends it and leaves nothing behind.
    """
    with narrator(chosen["output"], aside=True) as tell:
        address, port = _listen(chosen["listen"])
        access = permitted_access(chosen["kubeconfig"], chosen["context"], chosen["namespace"])
        options = ProxyOptions(
            address,
            port,
            chosen["everything"],
            names_of(chosen),
            targets.included(chosen["include"]),
            targets.excluded(chosen["exclude"]),
            link_of(chosen, tell),
        )
        telling = tell if chosen["output"] == "json" else _Environment(tell)
        if chosen["detach"]:
            return run_in_background(
                lambda tell: Proxy(access, options, tell), telling, _ready_line
            )
        return run(Proxy(access, options, telling), telling, _ready_line)


class _Environment:
    """A narrator that prints, when the proxy is ready, what a shell is to be told of it."""

    def __init__(self, tell: Narrator) -> None:
        self._tell = tell

    def progress(self, message: str) -> None:
        """As ever."""
        self._tell.progress(message)

    def event(self, name: str, message: str, **data: Any) -> None:
        """As ever, and the environment."""
        if name == "ready":
            click.echo(script(data["environment"]))
        self._tell.event(name, message, **data)


def script(environment: dict[str, str]) -> str:
    """The environment as a shell reads it; some programs heed small letters only."""
    lines = [
        f"export {word}={shlex.quote(value)}"
        for name, value in environment.items()
        for word in (name, name.lower())
    ]
    host, _, port = environment["ALL_PROXY"].rpartition("/")[2].rpartition(":")
    java = f"-DsocksProxyHost={host.strip('[]')} -DsocksProxyPort={port}"
    return "\n".join([*lines, f"# Java: JAVA_TOOL_OPTIONS='{java}'"])


def _ready_line(status: dict[str, Any], end: str) -> str:
    what = "everything" if status["everything"] else "the cluster"
    where = " and ".join(status["addresses"])
    return (
        f"Proxy to {what} of {status['context']}/{status['namespace']} at "
        f"{where} (SOCKS5, HTTP), live in {status['seconds']:.1f} s. {end}"
    )
