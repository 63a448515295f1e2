"""Files of settings are written whole."""

import os
from pathlib import Path

import pytest

from towline.errors import UsageError
from towline.settings.store import delete, write


def test_folders_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "config.yaml"
    write(path, "x")
    assert path.read_text() == "x"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["config.yaml"]


def test_mode_and_link_stay(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.yaml"
    real.write_text("old")
    real.chmod(0o600)
    link = tmp_path / "config.yaml"
    link.symlink_to(real)
    write(link, "new")
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("new", 0o600)


@pytest.mark.parametrize("is_there", [True, False])
def test_what_root_writes_in_a_home_is_its_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    given: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.update({path.name: (uid, gid)}))
    path = tmp_path / "towline" / "config.yaml"
    if is_there:
        path.parent.mkdir()
        path.touch()
    write(path, "x")
    owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    assert set(given.values()) == {owner}
    assert ("towline" in given) is not is_there


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/config"):
        write(tmp_path / "file" / "config.yaml", "x")
    with pytest.raises(UsageError, match=str(tmp_path)):
        write(tmp_path, "x")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UsageError, match="nothing"):
        delete(tmp_path / "nothing")
