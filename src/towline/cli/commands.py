"""The commands there are, each imported when it is used, so that `tow --help` stays quick."""

from __future__ import annotations

import importlib

import click

# Name → (module below towline.cli, one line of help).
COMMANDS = {
    "connect": ("connect", "Reach every service of the cluster by its name from this machine."),
    "forward": ("forward", "Reach a service, workload, pod or host by a port of this machine."),
    "proxy": ("proxy", "Be a SOCKS and HTTP proxy into the cluster; needs no root."),
    "exchange": (
        "exchange",
        "Answer the cluster's requests for a service or workload on this machine.",
    ),
    "mirror": ("mirror", "Send a copy of such requests to this machine, while the pods answer."),
    "mesh": ("mesh", "Answer some of a service's requests here, told by rules; others share it."),
    "preview": ("preview", "Give a program of this machine a service of its own in the cluster."),
    "up": ("up", "Bring up all that a file says, together."),
    "status": ("status", "Show the running sessions of this machine."),
    "disconnect": ("disconnect", "End a running session."),
    "list": ("listing", "Show who has what in the cluster."),
    "birdseye": ("birdseye", "Show all services and workloads, and who does what with them."),
    "recover": ("recover", "Put right what a broken session has left on a service or workload."),
    "clean": ("clean", "Remove what broken sessions have left; there should be nothing."),
    "check": ("check", "Tell beforehand what would not work here, and what to do about it."),
    "explain": ("explain", "Tell why an address does not go through, step by step."),
    "config": ("config", "Show and change what options are when nobody gives them."),
    "completion": ("completion", "Print the script by which a shell completes tow's commands."),
    "man": ("manual", "Write the manual pages."),
}


def command_of(name: str) -> click.Command:
    """The command of that name, imported now."""
    command: click.Command = importlib.import_module(f"towline.cli.{COMMANDS[name][0]}").command
    return command
