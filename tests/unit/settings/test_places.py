"""Where the files of settings are."""

import os
from pathlib import Path

import pytest

from towline.settings import places as module
from towline.settings.places import Places, find


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def places(home: Path, folder: Path, **environ: str) -> Places:
    return find(environ, home=home, folder=folder)


def test_own_settings_are_where_xdg_says(home: Path) -> None:
    assert places(home, home).user == home / ".config/towline/config.yaml"
    assert places(home, home, XDG_CONFIG_HOME="/x").user == Path("/x/towline/config.yaml")
    assert places(home, home, XDG_CONFIG_HOME="/x").profile("dev") == Path(
        "/x/towline/profiles/dev.yaml"
    )


@pytest.mark.parametrize("value", ["", "relative"])
def test_xdg_path_that_is_not_absolute_is_ignored(home: Path, value: str) -> None:
    assert places(home, home, XDG_CONFIG_HOME=value).user.is_relative_to(home)


def test_profiles_are_those_that_have_files(home: Path) -> None:
    found = places(home, home)
    assert found.profile_names() == []
    found.profiles.mkdir(parents=True)
    for name in ("test.yaml", "dev.yaml", "note.txt"):
        (found.profiles / name).touch()
    assert found.profile_names() == ["dev", "test"]


def test_team_file_is_looked_for_up_to_the_root_of_the_work_tree(home: Path) -> None:
    tree = home / "src" / "shop"
    below = tree / "a" / "b"
    below.mkdir(parents=True)
    (tree / ".git").mkdir()
    (tree.parent / ".towline.yaml").touch()
    assert places(home, below).team is None
    assert places(home, below).team_folder == tree
    (tree / ".towline.yaml").touch()
    assert places(home, below).team == tree / ".towline.yaml"
    (below / ".towline.yaml").touch()
    assert places(home, below).team == below / ".towline.yaml"


def test_work_tree_beside_others_has_a_file_for_git(home: Path) -> None:
    tree = home / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / ".git").write_text("gitdir: elsewhere")
    (home / ".towline.yaml").touch()
    assert places(home, tree / "a").team is None


def test_team_file_is_looked_for_up_to_home(home: Path) -> None:
    folder = home / "a" / "b"
    folder.mkdir(parents=True)
    (home.parent / ".towline.yaml").touch()
    assert places(home, folder).team is None
    (home / ".towline.yaml").touch()
    assert places(home, folder).team == home / ".towline.yaml"
    assert places(home, folder).team_folder == folder


def test_outside_home_and_work_trees_only_the_working_directory_counts(
    home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shared" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "shared" / ".towline.yaml").touch()
    assert places(home, folder).team is None
    (folder / ".towline.yaml").touch()
    assert places(home, folder).team == folder / ".towline.yaml"


def test_file_that_somebody_else_has_put_above_does_not_count(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in /tmp, where anybody could make a work tree of it."""
    folder = home / "shared" / "mine"
    folder.mkdir(parents=True)
    (home / "shared" / ".git").mkdir()
    file = home / "shared" / ".towline.yaml"
    file.touch()
    owners = {folder: 1000, file: 2000}
    monkeypatch.setattr(os, "geteuid", lambda: 3000)
    monkeypatch.setattr(module, "_owner", owners.get)
    assert places(home, folder).team is None
    for owner in (0, 1000, 3000):
        owners[file] = owner
        assert places(home, folder).team == file


def test_working_directory_that_is_gone_has_no_team(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find({}, home=tmp_path).team is None
