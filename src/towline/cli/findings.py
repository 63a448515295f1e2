"""How findings are shown: a line each, as soon as it is known, or all as one document."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable

import click

from towline.cli.output import coloured, plain, print_json
from towline.features.findings import Finding, Verdict

_MARKS = {
    Verdict.OK: ("ok", "green"),
    Verdict.WARNING: ("note", "yellow"),
    Verdict.PROBLEM: ("PROBLEM", "red"),
}


def print_finding(finding: Finding) -> None:
    """Print one, and below it what to do."""
    mark, colour = _MARKS[finding.verdict]
    click.secho(f"{mark:8}", nl=False, fg=colour, color=coloured(sys.stdout))
    click.echo(f"{finding.name}: {plain(finding.what)}")
    if finding.hint:
        click.echo(f"{'':8}→ {finding.hint}")


def conclude(findings: Iterable[Finding], output: str) -> int:
    """Print them if that is to be JSON; returns the exit code, 1 if there is a problem."""
    findings = list(findings)
    if output == "json":
        print_json([dataclasses.asdict(finding) for finding in findings])
    return int(any(finding.verdict is Verdict.PROBLEM for finding in findings))
