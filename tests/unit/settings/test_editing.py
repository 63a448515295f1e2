"""Changes to a file of settings leave the rest as it is written."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.settings.test_document import NAMES, TEXTS, VALUES, plain
from towline.settings.document import parse
from towline.settings.editing import put, remove, render
from towline.settings.problem import SettingsError

COMMANDS = ("exchange", "mirror")
SECTIONS = st.dictionaries(st.sampled_from(COMMANDS), st.dictionaries(NAMES, VALUES, max_size=3))
DATA = st.builds(
    lambda top, sections: {**top, **sections},
    st.dictionaries(NAMES.filter(lambda name: name not in COMMANDS), VALUES, max_size=3),
    SECTIONS,
)
STYLES = st.sampled_from([True, False, None])
# What can be set: no text is empty of names, and one value or several of a kind.
SET = st.integers() | st.booleans() | TEXTS | st.lists(TEXTS, max_size=3).map(tuple)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A file in one of YAML's styles, with comments on lines of their own, and what it says."""
    data = draw(DATA)
    text = yaml.safe_dump(
        data, default_flow_style=draw(STYLES), indent=draw(st.sampled_from([2, 4])), width=1000
    )
    lines = text.splitlines()
    for number in sorted(draw(st.sets(st.integers(0, len(lines)), max_size=3)), reverse=True):
        lines.insert(number, f"# comment {number}")
    commented = "\n".join(lines) + draw(st.sampled_from(["\n", ""]))
    said = plain(parse(text, "f"))
    try:
        right = plain(parse(commented, "f")) == said
    except SettingsError:
        right = False
    return (commented if right else text), said


@given(files(), st.sampled_from(["", *COMMANDS]), NAMES, SET)
def test_value_is_set_and_the_rest_is_as_it_was(
    file: tuple[str, dict[str, object]], command: str, name: str, value: object
) -> None:
    text, said = file
    if not command and name in COMMANDS:
        return
    edited = put(text, (command, name), value, "f")
    texts = list(value) if isinstance(value, tuple) else render(value)
    written = texts if isinstance(texts, list) else plain(parse(f"a: {texts}", "f"))["a"]
    if command:
        section = said.get(command)
        said[command] = {**(section if isinstance(section, dict) else {}), name: written}
    else:
        said[name] = written
    assert plain(parse(edited.text, "f")) == said
    if not edited.lost_comments:
        assert edited.text.count("# comment") == text.count("# comment")


@given(files(), st.data())
def test_value_is_removed_and_the_rest_is_as_it_was(
    file: tuple[str, dict[str, object]], data: st.DataObject
) -> None:
    text, said = file
    keys = [("", name) for name, each in said.items() if not isinstance(each, dict)]
    for command in COMMANDS:
        section = said.get(command)
        keys += [(command, name) for name in section] if isinstance(section, dict) else []
    if not keys:
        return
    command, name = data.draw(st.sampled_from(keys))
    edited = remove(text, (command, name), "f")
    section = said[command] if command else said
    assert isinstance(section, dict)
    del section[name]
    if command and not section:
        del said[command]
    assert plain(parse(edited.text, "f")) == said


BEFORE = """\
# My settings.
namespace: dev  # until June

# Slow VPN:
timeout: 300
exchange:
    # As the others do.
    mode: selector
    expose:
    - 8080:80   # web
    - "9090"
# The end.
"""


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        (("", "namespace"), "shop", ("namespace: dev  #", "namespace: shop  #")),
        (("", "timeout"), 5.5, ("300", "5.5")),
        (("", "grace"), 7, ("timeout: 300\n", "timeout: 300\ngrace: 7\n")),
        (("exchange", "mode"), "scale", ("selector", "scale")),
        (("exchange", "strict"), True, ('- "9090"\n', '- "9090"\n    strict: true\n')),
        (
            ("exchange", "expose"),
            ("8080:53", "no"),
            (':\n    - 8080:80   # web\n    - "9090"', ": ['8080:53', 'no']"),
        ),
        (
            ("mirror", "mode"),
            "selector",
            ("# The end.\n", "# The end.\nmirror:\n  mode: selector\n"),
        ),
    ],
)
def test_comments_and_order_stay(
    key: tuple[str, str], value: object, changed: tuple[str, str]
) -> None:
    edited = put(BEFORE, key, value, "f")
    assert edited.text == BEFORE.replace(*changed)
    assert edited.lost_comments is ("# web" in changed[0])


def test_what_is_removed_is_its_lines() -> None:
    assert remove(BEFORE, ("", "timeout"), "f").text == BEFORE.replace("timeout: 300\n", "")
    lines = '    expose:\n    - 8080:80   # web\n    - "9090"\n'
    assert remove(BEFORE, ("exchange", "expose"), "f").text == BEFORE.replace(lines, "")
    assert remove(BEFORE, ("", "nothing"), "f").text == BEFORE


def test_last_of_a_section_takes_it_along() -> None:
    assert remove("a: 1\nexchange:\n  mode: x\n", ("exchange", "mode"), "f").text == "a: 1\n"


def test_alias_is_changed_in_one_place_and_comments_are_lost() -> None:
    text = "# why\nexchange: &same\n  mode: a\nmirror: *same\n"
    edited = put(text, ("mirror", "mode"), "b", "f")
    assert plain(parse(edited.text, "f")) == {"exchange": {"mode": "a"}, "mirror": {"mode": "b"}}
    assert edited.lost_comments


def test_empty_file_gets_its_first_line() -> None:
    assert put("", ("", "grace"), 7, "f").text == "grace: 7\n"
    assert put("# mine", ("exchange", "mode"), "x", "f").text == "# mine\nexchange:\n  mode: x\n"
    assert put("exchange:\n", ("exchange", "mode"), "x", "f").text == "exchange:\n  mode: x\n"


def test_broken_file_is_not_touched() -> None:
    with pytest.raises(SettingsError):
        put("a: [\n", ("", "grace"), 7, "f")
    with pytest.raises(SettingsError):
        remove("a: [\n", ("", "grace"), "f")
