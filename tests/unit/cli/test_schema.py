"""The commands' options as settings."""

import click
import pytest

from towline.cli import main as cli
from towline.cli.commands import COMMANDS
from towline.cli.schema import UNSETTABLE, options_of, schema
from towline.settings.schema import Kind, nearest


def test_every_command_and_option_is_in_it() -> None:
    found = schema().commands
    assert set(found) == set(COMMANDS) - UNSETTABLE
    context = click.Context(cli.main)
    for name, options in found.items():
        command = cli.main.get_command(context, name)
        assert command is not None
        words = {word for each in command.params for word in each.opts if word.startswith("--")}
        assert {f"--{option}" for option in options} == words


def test_option_is_as_the_command_has_it() -> None:
    options = schema().commands["exchange"]
    assert options["mode"].choices == ("selector", "ephemeral", "scale")
    assert (options["grace"].kind, options["grace"].minimum) == (Kind.INTEGER, 1)
    assert (options["timeout"].kind, options["timeout"].default) == (Kind.NUMBER, 120)
    assert (options["strict"].kind, options["strict"].default) == (Kind.BOOLEAN, False)
    assert options["expose"].multiple
    assert not options["mode"].multiple
    assert options["kubeconfig"].is_path
    assert schema().commands["preview"]["expose"].required


def test_what_has_no_value_or_is_hidden_is_no_setting() -> None:
    @click.command()
    @click.option("--port", type=int)
    @click.option("--old-port", "port", type=int, hidden=True)
    @click.version_option("1")
    def command(port: int) -> None: ...

    assert set(options_of(command)) == {"port"}


@pytest.mark.parametrize(
    ("name", "texts", "value"),
    [
        ("grace", ("7",), 7),
        ("timeout", ("0x", "7"), None),
        ("timeout", ("7.5",), 7.5),
        ("timeout", ("0.5",), None),
        ("strict", ("yes",), True),
        ("strict", ("off",), False),
        ("strict", ("maybe",), None),
        ("mode", ("scale",), "scale"),
        ("mode", ("scales",), None),
        ("expose", ("8080:80", "9090"), ("8080:80", "9090")),
        ("expose", ("8080:80", "80:80:80:80"), None),
        ("namespace", ("a", "b"), None),
    ],
)
def test_value_is_read_as_the_command_line_reads_it(
    name: str, texts: tuple[str, ...], value: object
) -> None:
    option = schema().commands["exchange"][name]
    if value is None:
        with pytest.raises(ValueError, match=r"\w"):
            option.read(texts)
    else:
        assert option.read(texts) == value


def test_callback_checks_but_leaves_the_value_for_the_command() -> None:
    option = schema().commands["clean"]["older-than"]
    assert option.read(("90s",)) == "90s"
    with pytest.raises(ValueError, match="90"):
        option.read(("90",))


def test_clone_sets_no_program_and_leads_nothing_elsewhere() -> None:
    options = schema().commands["exchange"]
    for name in ("kubeconfig", "image", "force"):
        assert options[name].refusal("x")
    assert not options["namespace"].refusal("dev")
    assert not options["expose"].refusal(("8080:80", "9090"))
    assert options["expose"].refusal(("8080:80", "evil.example:443:80"))


def test_clone_is_refused_a_value_alike_whatever_command_it_is_for() -> None:
    for command, option in schema().having("expose"):
        assert option.refusal(("evil.example:443:80",)), command
        assert not option.refusal(option.default), command


def test_nearest_name_is_the_one_that_was_meant() -> None:
    assert nearest("wholly-different", {"namespace", "context"}) == ""
    assert nearest("name_space", {"namespace", "context"}) == "namespace"
