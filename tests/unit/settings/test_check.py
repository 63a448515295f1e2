"""Whether what a file says can be set."""

from pathlib import Path

import pytest

from tests.unit.settings.sample import SAMPLE
from towline.settings.check import Checked, check
from towline.settings.document import parse
from towline.settings.layers import Layer


def checked(text: str, layer: Layer = Layer.USER, base: str = "/base") -> Checked:
    return check(parse(text, "f"), SAMPLE, layer, "f", Path(base))


def test_right_names_and_values_are_kept_with_where_they_are() -> None:
    found = checked("namespace: dev\nexchange:\n  mode: scale\n  expose: [80, 90]\n")
    assert found.problems == []
    texts = {key: (each.texts, each.origin.line) for key, each in found.entries.items()}
    assert texts == {
        ("", "namespace"): (("dev",), 1),
        ("exchange", "mode"): (("scale",), 3),
        ("exchange", "expose"): (("80", "90"), 4),
    }


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("\nnamespcae: dev", "f:2: There is no option or command 'namespcae'.", "'namespace'"),
        ("name_space: dev", "'name_space'", "'namespace'"),
        ("exchnage:\n  mode: scale", "f:1: There is no option or command", "'exchange'"),
        ("exchange:\n  mod: scale", "f:2: 'tow exchange' has no option 'mod'.", "'mode'"),
        ("connect:\n  mode: scale", "'tow connect' has no option 'mode'.", "exchange, mirror"),
        ("exchange:\n  mode: scales", "f:2: 'mode': 'scales' is none of", ""),
        ("mode: scales", "f:1: 'mode': 'scales' is none of", ""),
        ("mirror:\n  mode: scale", "'scale' is none of", ""),
        ("grace: [1, 2]", "'grace' takes one value, not a list.", ""),
        ("grace: soon", "f:1: 'grace': invalid literal", ""),
        ("namespace:\n  a: b", "'namespace' needs a value here", ""),
        ("exchange: selector", "'exchange' is a command", "tow exchange --help"),
        ("registry: https://x", "f:1: 'registry': 'https://x' is no registry", ""),
        ("namespaces: {allowed: [a]}", "f:1: 'namespaces' is no option.", "company"),
        ("help: me", "f:1: 'help' is no option.", "company"),
        ("profile: ../x", "f:1: 'profile': '../x' is no name", ""),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_nearest_name(
    text: str, what: str, hint: str
) -> None:
    (problem,) = checked(text).problems
    assert what in problem.summary
    assert hint in problem.hint


def test_all_that_is_wrong_is_told_and_the_rest_is_kept() -> None:
    found = checked("a: 1\nnamespace: dev\nb: 2\n")
    assert [problem.line for problem in found.problems] == [1, 3]
    assert list(found.entries) == [("", "namespace")]


def test_value_for_all_need_not_be_right_for_each() -> None:
    assert checked("mode: scale").problems == []


def test_several_may_be_one() -> None:
    assert checked("expose: 8080:80").entries["", "expose"].texts == ("8080:80",)


def test_empty_section_says_nothing() -> None:
    found = checked("exchange:\nconnect: {}\n")
    assert (found.entries, found.problems) == ({}, [])


def test_clone_may_not_set_what_is_dangerous() -> None:
    (problem,) = checked("namespace: dev\nkubeconfig: ./k", Layer.TEAM).problems
    assert (problem.line, "it runs programs" in problem.what) == (2, True)
    assert "tow config set kubeconfig" in problem.hint
    (problem,) = checked("registry: evil.example", Layer.TEAM).problems
    assert "run in the cluster" in problem.what


@pytest.mark.parametrize("text", ["kubeconfig:", "connect:\n  kubeconfig: null", "registry: ~"])
def test_clone_may_not_put_aside_either_what_a_company_says(text: str) -> None:
    assert len(checked(text, Layer.TEAM).problems) == 1
    assert checked(text, Layer.USER).problems == []
    assert checked("namespace:", Layer.TEAM).problems == []


@pytest.mark.parametrize("layer", [Layer.DISTRIBUTION, Layer.TEAM, Layer.PROFILE])
def test_only_their_user_loads_profiles(layer: Layer) -> None:
    assert checked("profile: dev").problems == []
    assert len(checked("profile: dev", layer).problems) == 1


def test_files_are_named_from_the_file_that_names_them() -> None:
    def named(path: str) -> object:
        return checked(f"kubeconfig: {path}", base="/a/b").entries["", "kubeconfig"].texts

    assert named("c/kube") == ("/a/b/c/kube",)
    assert named("/etc/kube") == ("/etc/kube",)
    assert named("~/kube") == (str(Path.home() / "kube"),)
    assert named("''") == ("",)
