"""Settings in the environment."""

from itertools import chain

import pytest

from tests.unit.settings.sample import SAMPLE
from towline.cli.schema import schema
from towline.settings.environment import read, strangers, variable
from towline.settings.layers import Contents, Layer, resolve
from towline.settings.own import OWN
from towline.settings.schema import Schema

MODE = SAMPLE.commands["mirror"]["mode"]


def texts(**environ: str) -> dict[tuple[str, str], object]:
    return {key: each.texts for key, each in read(SAMPLE, environ).entries.items()}


def test_variable_is_for_all_commands_or_for_one() -> None:
    assert texts(TOW_NAMESPACE="dev", TOW_EXCHANGE_MODE="scale") == {
        ("", "namespace"): ("dev",),
        ("exchange", "mode"): ("scale",),
    }


def test_empty_variable_says_nothing() -> None:
    assert texts(TOW_NAMESPACE="", TOW_EXPOSE=" ") == {}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("80", ("80",)),
        ("80 90", ("80", "90")),
        ("header:x=a b\npath:/y", ("header:x=a b", "path:/y")),
        ("80\n", ("80",)),
        ("\n80 81\n\n90\n", ("80 81", "90")),
    ],
)
def test_several_values_are_words_or_lines(text: str, values: tuple[str, ...]) -> None:
    assert texts(TOW_EXPOSE=text) == {("", "expose"): values}


def test_wrong_value_names_the_variable() -> None:
    (problem,) = read(SAMPLE, {"TOW_EXCHANGE_MODE": "scales"}).problems
    assert problem.summary.startswith("TOW_EXCHANGE_MODE: 'scales'")


def test_value_for_all_may_be_for_other_commands() -> None:
    mirror = Schema({"mirror": SAMPLE.commands["mirror"]})
    found = read(mirror, {"TOW_MODE": "scale"}, SAMPLE)
    assert resolve([Contents(Layer.ENVIRONMENT, found.entries)], "mirror", MODE).value is None
    assert found.problems == []
    assert len(read(mirror, {"TOW_MODE": "scales"}, SAMPLE).problems) == 1
    assert len(read(mirror, {"TOW_MIRROR_MODE": "scale"}, SAMPLE).problems) == 1


def test_misspelt_variable_is_told_of_with_the_nearest() -> None:
    environ = {"TOW_NAMESPCAE": "x", "TOW_GRACE": "1", "TOWER": "x"}
    assert list(strangers(SAMPLE, environ)) == [
        "TOW_NAMESPCAE in the environment sets nothing. Did you mean TOW_NAMESPACE?"
    ]


def test_no_variable_means_two_things() -> None:
    commands = schema().commands
    for_one = [variable(command, name) for command in commands for name in commands[command]]
    for_all = [variable("", name) for name in {*chain(*commands.values()), *OWN}]
    assert len({*for_one, *for_all}) == len(for_one) + len(for_all)
