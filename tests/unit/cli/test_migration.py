"""docs/from-kt-connect.md and docs/from-telepresence.md say of everything what the program does."""

import re
from pathlib import Path

import click
import pytest

from towline.cli import ktconnect, telepresence
from towline.cli import main as cli
from towline.cli.commands import COMMANDS
from towline.cli.othertools import Spelling, Tool

CHECKOUT = Path(__file__).parents[3]
ROOT = click.Context(cli.main, info_name="tow")

# All that kt-connect 0.3.7 has: pkg/kt/command/options of its sources.
KT_CONNECT = {
    "": "namespace kubeconfig context image imagePullSecret serviceAccount nodeSelector debug "
    "withLabel withAnnotation portForwardTimeout podCreationTimeout useShadowDeployment "
    "useLocalTime forceUpdate asWorker podQuota ipVersion",
    "connect": "mode dnsMode shareShadow clusterDomain disablePodIp skipCleanup includeIps "
    "excludeIps ingressIp disableTunDevice disableTunRoute proxyPort proxyAddr dnsCacheTtl dnsPort "
    "includeDomains",
    "exchange": "expose mode skipPortChecking recoverWaitTime",
    "mesh": "expose mode versionMark skipPortChecking routerImage",
    "preview": "expose external skipPortChecking",
    "forward": "",
    "recover": "",
    "clean": "thresholdInMinus dryRun localOnly",
    "birdseye": "sortBy showConnector hideNaturalService",
    "config": "all dryRun",
    "completion": "",
}
# What Telepresence's command line has: docs/reference/cli of its sources.
TELEPRESENCE = set(
    re.findall(
        "[a-z-]+",
        "completion compose config connect curl docker-run gather-logs genyaml helm ingest "
        "intercept leave list list-contexts list-namespaces loglevel mcp quit replace serve status "
        "uninstall version wiretap apply delete revoke setup current-cluster-id test-vpn "
        "gather-traces upload-traces",
    )
)


def rows(text: str) -> list[tuple[str, str]]:
    """The first two cells of each line of the tables."""
    lines = re.findall(r"(?m)^\| (.*?) \| (.*?) \|", text)
    return [(first, second) for first, second in lines if "`" in first]


def section(command: str) -> str:
    """The part of kt-connect's page about a command, or about what stands before it."""
    head = f"`ktctl {command}`" if command else "Options before the command"
    text = (CHECKOUT / ktconnect.TOOL.page).read_text()
    (part,) = [part for part in text.split("\n## ") if part.startswith(head + "\n")]
    return part


def cell(text: str, name: str) -> str:
    """What the page says of an option."""
    (found,) = [second for first, second in rows(text) if f"`{name}`" in first]
    return found


@pytest.mark.parametrize("command", KT_CONNECT)
def test_all_of_kt_connect_is_mapped(command: str) -> None:
    names = {f"--{name}" for name in KT_CONNECT[command].split()}
    told = {name for first, _ in rows(section(command)) for name in re.findall(r"`(--\w+)", first)}
    assert told - {"--version"} == names


def options_of(command: str) -> set[str]:
    """Those of a command, and of all below it."""
    found = cli.main.get_command(ROOT, command) if command in COMMANDS else None
    below = list(found.commands.values()) if isinstance(found, click.Group) else []
    params = [own for each in [found, *below] if each for own in each.params]
    return {word for own in params for word in (*own.opts, *own.secondary_opts)}


def assert_true(told: str, row: Spelling, command: str) -> None:
    """A cell says what the program does with an option."""
    ours = row.here(row.values[0] if row.values else "1", options_of(command))
    if ours is None:
        assert told in {"not yet", "none"}
        assert (told == "not yet") == (row.advice.startswith("It is not there yet"))
    elif ours:
        assert f"`{ours[0]}" in told
    else:
        assert told.startswith("nothing")


def cases(tool: Tool) -> list[tuple[str, Spelling]]:
    return [(command, each) for command, some in tool.options.items() for each in some]


@pytest.mark.parametrize(
    ("command", "row"), cases(ktconnect.TOOL), ids=lambda each: getattr(each, "name", each)
)
def test_page_of_kt_connect_says_what_the_program_does(command: str, row: Spelling) -> None:
    told = cell(section(command), row.name)
    if command and command not in COMMANDS:
        assert told == "not yet"
    else:
        assert_true(told, row, command or "connect")


@pytest.mark.parametrize("command", KT_CONNECT)
def test_options_that_are_called_the_same_are_there(command: str) -> None:
    there = options_of(command or "connect")
    same = [first for first, told in rows(section(command)) if told == "the same"]
    assert {name for first in same for name in re.findall(r"`(-[-\w]+)`", first)} <= there


@pytest.mark.parametrize("command", KT_CONNECT)
def test_options_that_are_here_are_not_said_to_be_missing(command: str) -> None:
    absent = [first for first, told in rows(section(command)) if told in {"not yet", "none"}]
    names = {name for first in absent for name in re.findall(r"`(-[-\w]+)`", first)}
    short = {"-l", "-f"}
    assert not (names - short) & options_of(command or "connect")


@pytest.mark.parametrize(
    ("command", "row"), cases(telepresence.TOOL), ids=lambda each: getattr(each, "name", each)
)
def test_page_of_telepresence_says_what_the_program_does(command: str, row: Spelling) -> None:
    text = (CHECKOUT / telepresence.TOOL.page).read_text()
    options = text.partition("## Options of `telepresence connect`")[2]
    assert_true(cell(options, row.name), row, command)


def test_all_commands_of_telepresence_are_mapped() -> None:
    text = (CHECKOUT / telepresence.TOOL.page).read_text().partition("## Options")[0]
    told = {word for first, _ in rows(text) for word in re.findall(r"`([a-z-]+)", first)}
    assert {*TELEPRESENCE, *telepresence.TOOL.commands} <= told


@pytest.mark.parametrize("tool", [ktconnect.TOOL, telepresence.TOOL], ids=lambda tool: tool.name)
def test_pages_name_what_there_is(tool: Tool) -> None:
    for line in re.findall(r"`tow ([^`]*)`", (CHECKOUT / tool.page).read_text()):
        words = [word for word in line.split() if not word.startswith("-v") and word != "COMMAND"]
        if words and not words[0].startswith("-"):
            assert words[0] in COMMANDS, line
