"""`tow check`: the doctor."""

from __future__ import annotations

import asyncio

import click

from towline.cli.access import permitted_access
from towline.cli.command import Command
from towline.cli.findings import conclude, print_finding
from towline.cli.options import cluster_options, output_option
from towline.features.check import check
from towline.features.findings import Finding
from towline.kube.config import Access

EPILOG = """\b
Examples:
  tow check                     for the namespace of the current context
  tow check -n shop             for the namespace shop
"""


@click.command("check", cls=Command, epilog=EPILOG)
@cluster_options
@output_option
def command(kubeconfig: str | None, context: str | None, namespace: str | None, output: str) -> int:
    """Tell beforehand what would not work here, and what to do about it.

    Looks at root, the kernel, nftables, DNS and routes of this machine, and at your rights in
    the cluster. Changes nothing and asks for no password. Ends with 1 if there is a problem.
    """
    access = permitted_access(kubeconfig, context, namespace)
    findings = asyncio.run(_collect(access, show=output == "text"))
    return conclude(findings, output)


async def _collect(access: Access, *, show: bool) -> list[Finding]:
    findings = []
    async for finding in check(access):
        findings.append(finding)
        if show:
            print_finding(finding)
    return findings
