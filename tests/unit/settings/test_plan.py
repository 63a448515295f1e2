"""What a file for `tow up` comes to, and what is wrong with one."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.settings.sample import one_of, option
from towline.settings.plan import Entry, Form, load, parse
from towline.settings.problem import SettingsError
from towline.settings.schema import Kind


def flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"'{text}' is neither.")
    return text == "true"


def options(*made):
    return {each.name: each for each in made}


FORMS = {
    "connect": Form(
        (),
        options(option("namespace"), option("grace", int), option("kubeconfig", is_path=True)),
        takes_program=False,
    ),
    "exchange": Form(
        ("target",),
        options(
            option("namespace"),
            option("expose", multiple=True),
            option("mode", one_of("selector", "scale")),
            replace(option("strict", flag), kind=Kind.BOOLEAN),
        ),
        takes_program=True,
    ),
    "mirror": Form(("target",), options(option("mode", one_of("selector"))), takes_program=True),
    "forward": Form(("target",), options(), takes_program=False, several=("ports",)),
    "preview": Form(
        ("name",), options(option("expose", multiple=True, required=True)), takes_program=False
    ),
}


def entries(text: str) -> list[Entry]:
    return parse(text, "towline.yaml", Path("/base"), FORMS)


def wrong(text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        entries(text)
    return caught.value


def test_entry_is_what_is_typed_on_the_command_line() -> None:
    text = """
    connect: {namespace: dev, grace: 5}
    exchange:
      - target: web
        expose: ["8080:80", "9090:90/udp"]
        run: [python, app.py, -v]
    run:
      - {name: worker, command: [python, worker.py]}
    """
    assert entries(text) == [
        Entry("connect", "connect", ("--namespace=dev", "--grace=5"), ()),
        Entry(
            "exchange web",
            "exchange",
            ("web", "--expose=8080:80", "--expose=9090:90/udp"),
            ("python", "app.py", "-v"),
        ),
        Entry("run worker", "", (), ("python", "worker.py")),
    ]


@pytest.mark.parametrize("text", ["connect:", "connect: {}", "connect: [{}]", "connect: null"])
def test_command_without_options(text: str) -> None:
    assert entries(text) == [Entry("connect", "connect", (), ())]


def test_one_value_does_for_a_list() -> None:
    (entry,) = entries("exchange: {target: web, expose: 8080}")
    assert entry.arguments == ("web", "--expose=8080")


@pytest.mark.parametrize(("value", "word"), [("true", "--strict"), ("false", "--no-strict")])
def test_switch_is_turned_on_or_off(value: str, word: str) -> None:
    (entry,) = entries(f"exchange: {{target: web, strict: {value}}}")
    assert entry.arguments == ("web", word)


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ("[8080:80, http]", ("8080:80", "http")),
        ("8080:80", ("8080:80",)),
        ("[]", ()),
        ("", ()),
    ],
)
def test_arguments_of_which_there_may_be_several_are_behind_the_others(
    ports: str, words: tuple[str, ...]
) -> None:
    (entry,) = entries(f"forward: {{target: web, ports: {ports}}}")
    assert entry == Entry("forward web", "forward", ("web", *words), ())


def test_null_leaves_an_option_to_the_settings() -> None:
    (entry,) = entries("namespace: dev\nexchange: {target: web, namespace: null}")
    assert entry.arguments == ("web",)


def test_option_at_the_top_is_for_all_that_have_it_and_take_it_and_say_nothing_else() -> None:
    text = """
    mode: scale
    namespace: dev
    connect: {namespace: prod}
    exchange: {target: web}
    mirror: {target: web}
    """
    assert [entry.arguments for entry in entries(text)] == [
        ("--namespace=prod",),
        ("web", "--namespace=dev", "--mode=scale"),
        ("web",),
    ]


def test_file_is_named_from_the_folder_on() -> None:
    (entry,) = entries("connect: {kubeconfig: conf/kube}")
    assert entry.arguments == ("--kubeconfig=/base/conf/kube",)


def test_each_entry_has_a_label_of_its_own() -> None:
    text = "connect: [{namespace: a}, {namespace: b}, {}]\nrun: [{command: [x]}, {command: [x, y]}]"
    labels = ["connect", "connect (2)", "connect (3)", "run x", "run x (2)"]
    assert [entry.label for entry in entries(text)] == labels


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        ("conect:", 1, "'conect'", "'connect'"),
        ("connect:\n  namspace: x", 2, "'namspace' of 'tow connect'", "'namespace'"),
        ("connect:\n  run: [x]", 2, "'run' of 'tow connect'", ""),
        ("exchange:\n  - expose: 80", 2, "needs 'target'", ""),
        ("exchange:\n  - {target: [a]}", 2, "'target' needs a name", ""),
        ("exchange:\n  - {target: --force}", 2, "'target' needs a name", ""),
        ("exchange: web", 1, "Options of 'tow exchange'", ""),
        ("exchange: {target: web,\n  run: python app.py}", 2, "A program is a list", ""),
        ("exchange: {target: web,\n  run: []}", 2, "A program is a list", ""),
        ("exchange: {target: web,\n  run: [a, [b]]}", 2, "A value is needed", ""),
        ("exchange: {target: web,\n  mode: x}", 2, "'mode': 'x' is none of", ""),
        ("exchange: {target: web,\n  mode: [scale]}", 2, "one value, not a list", ""),
        ("mode: x\nconnect:", 1, "'mode': 'x' is none of", ""),
        ("preview:\n  name: mine", 2, "needs 'expose'", ""),
        ("connect:\nrun:\n  - {name: x}", 3, "'run' needs 'command'", ""),
        ("run:\n  - {comand: [x]}", 2, "'comand' of 'run'", "'command'"),
        ("connect:\nconnect:", 2, "'connect' is there twice", ""),
        ("- connect", 1, "Commands are needed", ""),
        ("connect: {a: b", 1, "not YAML", ""),
        ("", 0, "nothing to bring up", "connect"),
        ("namespace: dev", 0, "nothing to bring up", "connect"),
        ("connect: []", 0, "nothing to bring up", "connect"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, what: str, hint: str) -> None:
    error = wrong(text)
    where = f"towline.yaml:{line}: " if line else "towline.yaml: "
    assert error.summary.startswith(where)
    assert what in error.summary
    assert hint in error.hint


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        load(tmp_path / "towline.yaml", FORMS)


def test_file_is_read_from_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "towline.yaml"
    file.write_text("connect: {kubeconfig: kube}")
    (entry,) = load(file, FORMS)
    assert entry.arguments == (f"--kubeconfig={tmp_path / 'kube'}",)


WORDS = st.sampled_from(["connect", "exchange", "run", "target", "mode", "command", "strict", "x"])
VALUES = st.recursive(
    st.none() | WORDS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)
)


@given(VALUES)
def test_any_yaml_is_read_or_refused(value: object) -> None:
    with contextlib.suppress(SettingsError):
        assert entries(yaml.safe_dump(value))
