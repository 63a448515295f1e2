"""What kt-connect and Telepresence have is understood here, or told by its name here."""

import contextlib
import re
from pathlib import Path

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from towline.cli import ktconnect, telepresence
from towline.cli import main as cli
from towline.cli.commands import COMMANDS
from towline.cli.othertools import Spelling, Tool
from towline.cli.spellings import ROOT_VALUED, translate
from towline.errors import UsageError

CHECKOUT = Path(__file__).parents[3]
ROOT = click.Context(cli.main, info_name="tow")
TOOLS = (ktconnect.TOOL, telepresence.TOOL)

# What works, as it is written and as it is meant.
KEPT = {
    "-n shop connect": "connect -n shop",
    "--namespace=shop connect": "connect --namespace=shop",
    "-nshop connect --detach": "connect -nshop --detach",
    "-c file --context dev -i python connect": "connect -c file --context dev -i python",
    "-d connect": "-v connect",
    "connect --debug": "-v connect",
    "-v -d connect": "-v -v connect",
    "connect --podCreationTimeout 60": "connect --timeout 60",
    "--podCreationTimeout=60 connect": "connect --timeout 60",
    "--useShadowDeployment connect": "connect",
    "connect --useLocalTime": "connect",
    "connect --mode tun2socks --skipCleanup": "connect",
    "connect --dnsMode localDNS": "connect",
    "connect --clusterDomain k8s.corp": "connect --cluster-domain k8s.corp",
    "connect --dnsCacheTtl 60": "connect --dns-cache 60",
    "connect --includeDomains a.corp,b.corp": "connect --domain a.corp,b.corp",
    "exchange web --expose 8:80 --mode selector": "exchange web --expose 8:80 --mode selector",
    "exchange web --skipPortChecking": "exchange web",
    "exchange deployment/web --recoverWaitTime 90": "exchange deployment/web --timeout 90",
    "preview web --expose 80 --external --skipPortChecking": "preview web --expose 80 --external",
    "clean --dryRun --thresholdInMinus 15": "clean --dry-run --older-than 15m",
    "clean --thresholdInMinus=15": "clean --older-than 15m",
    "recover web": "recover web",
    "--profile work -n shop clean --dryRun": "--profile work clean -n shop --dry-run",
    "--profile=work -d connect": "--profile=work -v connect",
    "mesh web --expose 80 --versionMark kt:ada": "mesh web --expose 80 --version-mark kt:ada",
    "mesh web --mode auto": "mesh web --mode router",
    "mesh web --mode manual": "mesh web --mode manual",
    "mesh web --mode=router": "mesh web --mode=router",
    "mesh web --routerImage reg/envoy --skipPortChecking": "mesh web --router-image reg/envoy",
    "connect --imagePullSecret mine": "connect --image-pull-secret mine",
    "--podQuota 0.5c,512m connect": "connect --cpu 0.5 --memory 512Mi",
    "connect --podQuota=1G": "connect --memory 1Gi",
    "-l a=b,c=d connect": "connect --label a=b --label c=d",
    "connect --withAnnotation a=b": "connect --annotation a=b",
    "exchange web --nodeSelector a=b,c=d": "exchange web --node-selector a=b --node-selector c=d",
    "-f preview web --expose 80": "preview --image-pull-policy Always web --expose 80",
    "connect --serviceAccount runner": "connect --service-account runner",
    "config list-profile": "config list-profiles",
    "config view": "config show",
    "birdseye --showConnector --sortBy name": "birdseye",
    "status --json": "status --output json",
    "exchange web -- ./serve --dryRun -d --debug": "exchange web -- ./serve --dryRun -d --debug",
}


def options_of(command: str) -> set[str]:
    found = cli.main.get_command(ROOT, command)
    return {word for each in found.params for word in each.opts} if found else set()


def rows(tool: Tool) -> list[tuple[Tool, str, Spelling]]:
    return [(tool, command, each) for command, some in tool.options.items() for each in some]


ROWS = [row for tool in TOOLS for row in rows(tool)]
HERE = [row for row in ROWS if row[1] in COMMANDS or not row[1]]


def ids(some: list[tuple[Tool, str, Spelling]]) -> list[str]:
    return [f"{tool.name} {command} {each.name}" for tool, command, each in some]


def assert_understood(words: list[str]) -> None:
    """A wrong option, or one that lacks its value, would be an error."""
    at = next(place for place, word in enumerate(words) if word in COMMANDS)
    own = words[at:]
    command = cli.main.get_command(ROOT, own[0])
    assert command is not None
    # The lines here name no target.
    with contextlib.suppress(click.MissingParameter):
        command.make_context(own[0], own[1:])


@pytest.mark.parametrize("written", KEPT)
def test_works_as_it_is_meant(written: str) -> None:
    ours = translate(written.split(), options_of)
    assert ours == KEPT[written].split()
    assert_understood(ours)


@pytest.mark.parametrize(("tool", "command", "row"), HERE, ids=ids(HERE))
def test_every_row_works_or_says_what_to_do(tool: Tool, command: str, row: Spelling) -> None:
    at = command or "connect"
    value = row.values[0] if row.values and row.meant is not None else "15"
    line = [at, row.name, *(() if row.flag else (value,))]
    if row.here(value, options_of(at)) is not None:
        assert_understood(translate(line, options_of))
        return
    with pytest.raises(UsageError) as caught:
        translate(line, options_of)
    assert row.name in caught.value.summary
    assert tool.name in caught.value.summary
    assert caught.value.hint == f"{row.advice} See {tool.page}."
    assert (CHECKOUT / tool.page).exists()


@pytest.mark.parametrize(("tool", "command", "row"), ROWS, ids=ids(ROWS))
def test_no_row_hides_an_option_of_ours(tool: Tool, command: str, row: Spelling) -> None:
    for name in [command] if command else COMMANDS:
        assert row.values or row.name not in options_of(name)


def test_value_that_means_nothing_here_is_refused_with_the_value() -> None:
    with pytest.raises(UsageError, match="--mode sshuttle") as caught:
        translate(["connect", "--mode", "sshuttle"], options_of)
    assert "leave it out" in caught.value.hint


def test_options_with_a_value_before_the_command_are_known() -> None:
    valued = [each for each in cli.main.params if isinstance(each, click.Option)]
    names = {word for each in valued if not each.is_flag and not each.count for word in each.opts}
    assert names == ROOT_VALUED


def test_missing_value() -> None:
    with pytest.raises(UsageError, match="--thresholdInMinus needs a value"):
        translate(["clean", "--thresholdInMinus"], options_of)


# What has come here since is no longer refused.
ABSENT = [(tool, name) for tool in TOOLS for name in tool.commands if name not in COMMANDS]


@pytest.mark.parametrize(("tool", "name"), ABSENT, ids=[name for _, name in ABSENT])
def test_command_of_another_tool_is_told_its_name_here(tool: Tool, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        cli.main([name, "web", "--port", "8080"], standalone_mode=False)
    assert tool.name in caught.value.summary
    assert caught.value.hint == f"{tool.commands[name]} See {tool.page}."


def advice() -> list[str]:
    return [
        *(row.advice for _, _, row in ROWS),
        *(text for tool in TOOLS for text in tool.commands.values()),
    ]


@pytest.mark.parametrize("text", sorted(set(advice())))
def test_advice_names_what_there_is(text: str) -> None:
    for quoted in re.findall(r"'tow ([^']*)'", text):
        words = [word for word in quoted.split() if not re.fullmatch("-vv?|COMMAND", word)]
        if words and not words[0].startswith("-"):
            assert words[0] in COMMANDS
            assert {word for word in words if word.startswith("-")} <= options_of(words[0])


WORDS = ["-v", "-d", "-n", "-nx", "--debug", "--mode", "--dryRun=1", "connect", "clean", "--", ""]


@given(st.lists(st.sampled_from(WORDS)))
@example(["-n", "--mode", "connect"])
def test_any_line_is_read_or_refused_and_is_read_then_as_it_is(words: list[str]) -> None:
    try:
        ours = translate(words, options_of)
    except UsageError:
        return
    assert translate(ours, options_of) == ours
    if "--" in words:
        assert ours[ours.index("--") :] == words[words.index("--") :]
