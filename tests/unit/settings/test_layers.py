"""Which of several layers counts."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.settings.sample import SAMPLE
from towline.settings.layers import Contents, Key, Layer, Origin, Value, Written, resolve

FILES = [layer for layer in Layer if layer is not Layer.BUILT_IN]
MODE = SAMPLE.commands["exchange"]["mode"]
GRACE = SAMPLE.commands["connect"]["grace"]


def layer(which: Layer, **texts: str | None) -> Contents:
    """What a layer says: `mode` for all commands, `exchange_mode` for one."""
    entries: dict[Key, Written] = {}
    for name, text in texts.items():
        command, _, option = name.rpartition("_")
        written = None if text is None else (text,)
        entries[command, option] = Written(written, Origin(which, which.value, 1))
    return Contents(which, entries)


def mode(*layers: Contents, command: str = "exchange") -> object:
    return resolve(layers, command, SAMPLE.commands[command]["mode"]).value


@pytest.mark.parametrize(("weak", "strong"), list(combinations(FILES, 2)))
def test_stronger_layer_counts(weak: Layer, strong: Layer) -> None:
    layers = [layer(weak, connect_grace="1"), layer(strong, grace="2")]
    value = resolve(layers, "connect", GRACE)
    assert (value.value, value.origin.layer) == (2, strong)


def test_within_a_layer_the_command_goes_before_all_commands() -> None:
    both = layer(Layer.USER, exchange_mode="scale", mode="selector")
    assert mode(both) == "scale"
    assert mode(both, command="mirror") == "selector"


def test_value_for_all_counts_where_it_can() -> None:
    layers = [layer(Layer.TEAM, mode="selector"), layer(Layer.USER, mode="scale")]
    assert mode(*layers) == "scale"
    assert mode(*layers, command="mirror") == "selector"


def test_without_any_layer_it_is_as_built() -> None:
    assert resolve([], "connect", GRACE) == Value(60, Origin(Layer.BUILT_IN), is_built_in=True)


def test_null_is_as_built_by_order_of_the_layer() -> None:
    layers = [layer(Layer.TEAM, grace="5"), layer(Layer.USER, grace=None)]
    value = resolve(layers, "connect", GRACE)
    assert (value.value, value.is_built_in, value.origin.layer) == (60, True, Layer.USER)


@given(st.lists(st.sampled_from([None, "selector", "scale"]), min_size=len(FILES) * 2))
def test_last_one_that_says_anything_counts(said: list[str | None]) -> None:
    expected = None
    layers = []
    for number, which in enumerate(FILES):
        general, specific = said[2 * number : 2 * number + 2]
        texts = {"mode": general, "exchange_mode": specific}
        layers.append(layer(which, **{name: text for name, text in texts.items() if text}))
        expected = specific or general or expected
    assert mode(*layers) == expected


def test_origin_is_file_and_line_or_variable() -> None:
    assert str(Origin(Layer.USER, "/a/config.yaml", 3)) == "user: /a/config.yaml:3"
    assert str(Origin(Layer.ENVIRONMENT, "TOW_MODE")) == "environment: TOW_MODE"
    assert str(Origin(Layer.BUILT_IN)) == "built-in"
