"""Files of settings as YAML, with the lines on which all is written."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towline.settings.document import Leaf, Section, load, parse
from towline.settings.problem import SettingsError

NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
VALUES = TEXTS | st.lists(TEXTS, max_size=3)


def plain(section: Section) -> dict[str, object]:
    """Without lines, lists as lists."""
    found: dict[str, object] = {}
    for name, member in section.members.items():
        if isinstance(member, Section):
            found[name] = plain(member)
        else:
            texts = member.texts or ()
            found[name] = list(texts) if member.is_list else texts[0]
    return found


@given(st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=3), max_size=5))
def test_what_yaml_wrote_is_read(data: dict[str, object]) -> None:
    assert plain(parse(yaml.safe_dump(data, allow_unicode=True), "f")) == data


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@ \n\t?,", max_size=40))
def test_any_text_is_read_or_said_to_be_wrong(text: str) -> None:
    problem = None
    try:
        parse(text, "settings.yaml")
    except SettingsError as error:
        problem = error.problem
    lines = len(text.splitlines()) + 1
    assert problem is None or (problem.file == "settings.yaml" and problem.line <= lines)


def test_values_are_kept_as_written_with_their_lines() -> None:
    section = parse("# of mine\ncontext: no\nexchange:\n  expose:\n  - 8080:53\n  - 010\n", "f")
    assert section.members["context"] == Leaf(("no",), 2)
    exchange = section.members["exchange"]
    assert isinstance(exchange, Section)
    assert exchange.line == 3
    assert exchange.members["expose"] == Leaf(("8080:53", "010"), 4, is_list=True)


def test_null_is_no_text() -> None:
    assert parse("a:\nb: ~\nc: null\nd: ''\n", "f").members == {
        "a": Leaf(None, 1),
        "b": Leaf(None, 2),
        "c": Leaf(None, 3),
        "d": Leaf(("",), 4),
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1\n", 3, "YAML"),
        ("a: 1\n\tb: 2\n", 2, "YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, "twice, first in line 1"),
        ("- a\n- b\n", 1, "Names and values"),
        ("just words\n", 1, "Names and values"),
        ("a:\n  b:\n    c: 1\n", 3, "Names within names"),
        ("a: [1, [2]]\n", 1, "one value"),
        ("a:\n- x\n-\n", 3, "one value"),
        ("? [a, b]\n: 1\n", 1, "A name"),
        ("a: 1\n---\nb: 2\n", 2, "YAML"),
        ("a: 1\nb: \x07\n", 2, "YAML"),
        ("a: &x [*x]\n", 1, "one value"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, "f.yaml")
    assert words in caught.value.summary
    assert caught.value.summary.startswith(f"f.yaml:{line}: ")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(SettingsError):
        parse("a: " + "[" * 100_000, "f")


def test_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert load(tmp_path / "none.yaml") == Section()


def test_empty_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("# nothing yet\n")
    assert load(path) == Section()


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_text("#" * 2_000_000)
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "pipe.yaml", big):
        with pytest.raises(SettingsError, match=str(path)):
            load(path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: \xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        load(binary)
