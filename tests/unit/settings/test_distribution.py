"""What a company ships."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from towline.settings.distribution import find
from towline.settings.document import Leaf
from towline.settings.places import GROUP
from towline.settings.problem import SettingsError


@pytest.fixture
def ship() -> Iterator[Callable[[object], EntryPoint]]:
    """Makes an entry point that gives something."""
    module = ModuleType("acme_tow")
    sys.modules["acme_tow"] = module

    def ship(given: object) -> EntryPoint:
        module.shipped = given  # type: ignore[attr-defined]
        return EntryPoint("acme", "acme_tow:shipped", GROUP)

    yield ship
    del sys.modules["acme_tow"]


SHIPPED = {
    "image": "mirror.acme.example/python:3",
    "help": "Ask for a namespace first.",
    "support": "https://acme.example/tow",
    "namespaces": {"allowed": ["dev-*", "test"], "refused": ("dev-secret",)},
    "exchange": {"mode": "selector", "strict": True},
}


def test_there_is_none(tmp_path: Path) -> None:
    assert find(tmp_path / "none", []) is None


def test_package_ships_a_mapping(tmp_path: Path, ship: Callable[[object], EntryPoint]) -> None:
    found = find(tmp_path / "none", [ship(SHIPPED)])
    assert found
    assert (found.help, found.support) == (SHIPPED["help"], SHIPPED["support"])
    image = found.options.members["image"]
    assert isinstance(image, Leaf)
    assert image.texts == ("mirror.acme.example/python:3",)
    assert set(found.options.members) == {"image", "exchange"}


def test_package_ships_a_function_or_a_file(
    tmp_path: Path, ship: Callable[[object], EntryPoint]
) -> None:
    file = tmp_path / "shipped.yaml"
    file.write_text("support: somebody\nkubeconfig: kube\n")
    for given in (file, lambda: file):
        found = find(tmp_path / "none", [ship(given)])
        assert found
        assert (found.support, found.file, found.base) == ("somebody", str(file), tmp_path)


def test_machine_has_a_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("support: somebody\n")
    found = find(file, [])
    assert found
    assert (found.name, found.support) == (str(file), "somebody")


def test_two_are_refused_with_both_names(
    tmp_path: Path, ship: Callable[[object], EntryPoint]
) -> None:
    file = tmp_path / "config.yaml"
    file.touch()
    with pytest.raises(SettingsError, match=r"acme_tow:shipped and .*config\.yaml"):
        find(file, [ship({})])
    with pytest.raises(SettingsError, match="acme_tow:shipped and other:x"):
        find(tmp_path / "none", [ship({}), EntryPoint("x", "other:x", GROUP)])


def test_package_that_breaks_is_named(tmp_path: Path, ship: Callable[[object], EntryPoint]) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oops")

    for point in (ship(broken), EntryPoint("x", "nosuch:x", GROUP)):
        with pytest.raises(SettingsError, match=point.value):
            find(tmp_path / "none", [point])
    with pytest.raises(SettingsError, match="acme_tow:shipped"):
        find(tmp_path / "none", [ship("only text")])


@pytest.mark.parametrize(
    "text",
    ["namespaces: [dev]", "namespaces:\n  alowed: [dev]", "help: [a, b]", "support:\n  a: b"],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"# shipped\n{text}\n")
    with pytest.raises(SettingsError, match=rf"{file}:2"):
        find(file, [])


@pytest.mark.parametrize(
    ("namespace", "permitted"),
    [("dev-alice", True), ("test", True), ("dev-secret", False), ("prod", False)],
)
def test_namespaces_are_allowed_by_patterns_and_refused(
    tmp_path: Path, ship: Callable[[object], EntryPoint], namespace: str, permitted: bool
) -> None:
    found = find(tmp_path / "none", [ship(SHIPPED)])
    assert found
    assert found.permits(namespace) is permitted


def test_without_a_list_all_are_allowed_but_the_refused(
    tmp_path: Path, ship: Callable[[object], EntryPoint]
) -> None:
    found = find(tmp_path / "none", [ship({"namespaces": {"refused": ["kube-*"]}})])
    assert found
    assert found.permits("shop")
    assert not found.permits("kube-system")
