from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towline.errors import ConfigError
from towline.kube.kubeconfig import Entry, load, merge, parse


def write(path: Path, **fields: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(fields))
    return path


def cluster(name: str, server: str) -> dict[str, Any]:
    return {"name": name, "cluster": {"server": server}}


def test_of_entries_with_one_name_the_first_file_counts(tmp_path: Path) -> None:
    one = write(tmp_path / "one", clusters=[cluster("c", "https://1"), cluster("a", "https://a")])
    two = write(tmp_path / "two", clusters=[cluster("c", "https://2"), cluster("b", "https://b")])

    merged = merge([one, two])

    servers = {name: entry.text("server") for name, entry in merged.clusters.items()}
    assert servers == {"c": "https://1", "a": "https://a", "b": "https://b"}
    assert merged.clusters["b"].file == two


def test_the_first_current_context_that_is_set_counts(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", **{"current-context": ""})
    one = write(tmp_path / "one", **{"current-context": "first"})
    two = write(tmp_path / "two", **{"current-context": "second"})

    assert merge([empty, one, two]).current_context == "first"


def test_kubeconfig_names_several_files_of_which_some_may_be_missing(tmp_path: Path) -> None:
    one = write(tmp_path / "one", clusters=[cluster("a", "https://a")])
    two = write(tmp_path / "two", clusters=[cluster("b", "https://b")])
    missing = tmp_path / "missing"
    environ = {"KUBECONFIG": os.pathsep.join(map(str, (one, missing, "", two, one)))}

    merged = load(None, environ)

    assert merged.files == (one, two)
    assert merged.missing == (missing,)


def test_home_is_where_the_default_is(tmp_path: Path) -> None:
    path = write(tmp_path / ".kube" / "config", clusters=[cluster("a", "https://a")])

    assert load(None, {"HOME": str(tmp_path)}).files == (path,)
    assert load(None, {"HOME": str(tmp_path), "KUBECONFIG": ""}).files == (path,)


def test_the_named_file_stands_alone(tmp_path: Path) -> None:
    one = write(tmp_path / "one", clusters=[cluster("a", "https://a")])
    two = write(tmp_path / "two", clusters=[cluster("b", "https://b")])

    assert list(load(one, {"KUBECONFIG": str(two)}).clusters) == ["a"]
    assert list(load("", {"KUBECONFIG": str(two)}).clusters) == ["b"]


def test_the_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"There is no kubeconfig file {tmp_path / 'none'}"):
        load(tmp_path / "none", {})


def test_a_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} cannot be read"):
        load(tmp_path, {})


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    merged = merge([tmp_path / "empty"])

    assert (merged.clusters, merged.current_context) == ({}, "")
    assert merged.files == (tmp_path / "empty",)


def test_two_entries_of_one_name_in_one_file_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "k", clusters=[cluster("c", "https://1"), cluster("c", "https://2")])

    with pytest.raises(ConfigError, match='two clusters named "c"'):
        merge([path])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clusters: [\n", "not valid YAML .line 2"),
        ("- a list", "is not a kubeconfig"),
        ("kind: Pod", "is not a kubeconfig"),
        ("apiVersion: v9", "is not a kubeconfig"),
        ("clusters: 3", "clusters of .* is not a list"),
        ("clusters: [3]", "clusters of .* is not a list"),
        ("clusters: [{name: 3}]", "name of .* is not text"),
        ("clusters: [{name: a, cluster: 3}]", "cluster of .* is not a mapping"),
        ("current-context: 3", "current-context of .* is not text"),
        ("\x00", "not valid YAML"),
    ],
)
def test_what_is_no_kubeconfig_is_an_error_that_names_the_file(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken"
    path.write_text(content)

    with pytest.raises(ConfigError, match=message) as caught:
        merge([path])

    assert str(path) in caught.value.summary


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-31", "2024-01-31"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("12", 12),
        ("true", True),
        ("~", None),
        ("'12'", "12"),
    ],
)
def test_plain_texts_are_what_kubernetes_takes_them_for(
    text: str, value: object, tmp_path: Path
) -> None:
    assert parse(f"key: {text}".encode(), tmp_path) == {"key": value}


@given(st.binary())
def test_any_bytes_are_a_mapping_or_a_config_error(content: bytes) -> None:
    try:
        parsed = parse(content, Path("/k"))
    except ConfigError:
        return
    assert isinstance(parsed, dict)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=_VALUES)
def test_getters_give_their_type_or_a_config_error(value: Any) -> None:
    entry = Entry("user", "u", Path("/dir/k"), {"key": value})
    getters: list[tuple[Any, type]] = [
        (entry.text, str),
        (entry.flag, bool),
        (entry.data, bytes),
        (entry.texts, tuple),
        (entry.sections, tuple),
    ]
    for getter, kind in getters:
        try:
            assert isinstance(getter("key"), kind)
        except ConfigError as error:
            assert 'the user "u" in /dir/k' in error.summary  # noqa: PT017


def test_relative_paths_are_relative_to_their_own_file(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "k"
    entry = Entry("user", "u", path, {"a": "../x.pem", "b": "/abs/y.pem"})

    assert entry.path("a") == tmp_path / "x.pem"
    assert str(entry.path("b")) == "/abs/y.pem"
    assert entry.path("none") is None


def test_data_is_base64_with_line_ends() -> None:
    entry = Entry("user", "u", Path("/k"), {"good": "aGVs\n bG8=", "bad": "-----BEGIN"})

    assert entry.data("good") == b"hello"
    with pytest.raises(ConfigError, match="is not base64"):
        entry.data("bad")


def test_secrets_do_not_show_in_a_repr() -> None:
    assert "secret" not in repr(Entry("user", "u", Path("/k"), {"token": "secret"}))
