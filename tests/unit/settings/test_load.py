"""All settings together."""

from collections.abc import Callable, ItemsView
from pathlib import Path

import pytest

from tests.unit.settings.sample import SAMPLE
from towline.settings.layers import Layer, Value
from towline.settings.load import Settings, load
from towline.settings.places import Places
from towline.settings.problem import SettingsError
from towline.settings.schema import Options, Schema

IMAGE = "docker.io/library/python:3-slim"
Write = Callable[..., Places]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files, and says where they are."""

    def write(
        *, machine: str = "", team: str = "", user: str = "", profiles: dict[str, str] | None = None
    ) -> Places:
        places = Places(
            tmp_path / "etc.yaml",
            tmp_path / "user.yaml",
            tmp_path / "profiles",
            tmp_path / "team.yaml",
            tmp_path,
        )
        places.profiles.mkdir(exist_ok=True)
        for path, text in (
            (places.machine, machine),
            (tmp_path / "team.yaml", team),
            (places.user, user),
            *((places.profile(name), text) for name, text in (profiles or {}).items()),
        ):
            if text:
                path.write_text(text)
        return places

    return write


def loaded(places: Places, profile: str | None = None, **environ: str) -> Settings:
    return load(places, SAMPLE, environ=environ, running=SAMPLE, points=[], profile=profile)


def value(settings: Settings, command: str, name: str) -> Value:
    return settings.of(SAMPLE, command)[name]


def test_each_layer_counts_more_than_those_before(write: Write) -> None:
    said = {
        "machine": "grace: 1\n",
        "team": "grace: 2\n",
        "user": "grace: 3\nprofile: p\n",
    }
    seen = []
    places = write(**said, profiles={"p": "grace: 4\n"})
    for path, expected in (
        (None, 5),
        (None, 4),
        (places.profile("p"), 3),
        (places.user, 2),
        (places.team, 1),
        (places.machine, 60),
    ):
        if path:
            path.write_text("profile: p\n" if path == places.user else "")
        environ = {} if seen else {"TOW_GRACE": "5"}
        found = value(loaded(places, **environ), "connect", "grace")
        assert found.value == expected
        seen.append(found.origin.layer)
    assert seen == list(reversed(Layer))


def test_broken_file_says_what_is_wrong_and_the_rest_counts(write: Write) -> None:
    settings = loaded(write(team="grace: [\n", user="grace: 3\nnonsense: 1\n"))
    assert value(settings, "connect", "grace").value == 3
    assert len(settings.problems) == 2
    with pytest.raises(SettingsError, match=r"team\.yaml:.*and 1 more") as caught:
        settings.raise_problems()
    assert caught.value.exit_code == 2


def test_no_command_is_looked_at_without_need(write: Write) -> None:
    """For what all commands may have, the first one that can have it is enough."""

    class Commands(dict[str, Options]):
        def __getitem__(self, name: str) -> Options:
            looked_at.add(name)
            return super().__getitem__(name)

        def items(self) -> ItemsView[str, Options]:
            return ItemsView(self)

    looked_at: set[str] = set()
    everything = Schema(Commands(SAMPLE.commands))
    running = Schema({"connect": SAMPLE.commands["connect"]})

    def load_it(text: str) -> set[str]:
        looked_at.clear()
        assert not load(
            write(team=text), everything, environ={}, running=running, points=[]
        ).problems
        return looked_at

    assert load_it("# nothing\n") == set()
    assert load_it("namespace: dev\n") == {"connect"}
    assert load_it("mirror:\n  mode: selector\n") == {"mirror"}
    assert load_it("mode: scale\n") == {"connect", "exchange"}


@pytest.mark.parametrize(
    ("flag", "variable", "profile"),
    [
        (None, "", "mine"),
        (None, "other", "other"),
        ("third", "other", "third"),
        ("none", "other", ""),
        (None, "none", ""),
    ],
)
def test_profile_is_that_of_the_flag_or_the_environment_or_the_user(
    write: Write, flag: str | None, variable: str, profile: str
) -> None:
    profiles = {name: f"namespace: {name}\n" for name in ("mine", "other", "third")}
    places = write(user="profile: mine\n", profiles=profiles)
    settings = loaded(places, flag, TOW_PROFILE=variable)
    assert settings.problems == []
    assert settings.profile == profile
    assert value(settings, "connect", "namespace").value == (profile or None)


def test_profile_that_is_not_there_is_told_with_the_nearest(write: Write) -> None:
    places = write(profiles={"staging": "# nothing\n"})
    (problem,) = loaded(places, TOW_PROFILE="stagign").problems
    assert problem.summary.startswith("TOW_PROFILE: There is no profile")
    assert "'staging'" in problem.hint
    (problem,) = loaded(places, "x").problems
    assert problem.summary.startswith("--profile: ")
    assert "staging" in problem.hint
    (problem,) = loaded(write(user="\nprofile: stagign\n")).problems
    assert f"{places.user}:2: " in problem.summary


def test_registry_is_where_images_that_are_built_in_come_from(write: Write) -> None:
    settings = loaded(write(machine="registry: mirror.example:5000/hub\n"))
    image = value(settings, "connect", "image")
    assert image.value == "mirror.example:5000/hub/library/python:3-slim"
    assert image.origin.layer is Layer.DISTRIBUTION


def test_registry_leaves_an_image_that_was_chosen(write: Write) -> None:
    settings = loaded(write(machine="registry: mirror.example\n", user=f"image: {IMAGE}\n"))
    assert value(settings, "connect", "image").value == IMAGE


def test_null_is_the_image_that_is_built_in_from_the_registry(write: Write) -> None:
    machine = "registry: mirror.example\nimage: own.example/py\n"
    settings = loaded(write(machine=machine, user="image:\n"))
    assert value(settings, "connect", "image").value == "mirror.example/library/python:3-slim"
