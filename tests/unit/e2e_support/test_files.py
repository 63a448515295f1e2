from __future__ import annotations

import os
import socket

import pytest

from tests.e2e.trace import files
from tests.e2e.trace.snapshot import difference


def add_file(root):
    (root / "new").write_text("x")


def add_hidden_file_deep_down(root):
    (root / "sub" / ".cache").mkdir()
    (root / "sub" / ".cache" / "x").touch()


def add_link(root):
    (root / "link").symlink_to("/nowhere")


def add_socket(root):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "s"))


def add_fifo(root):
    os.mkfifo(root / "pipe")


def remove(root):
    (root / "sub" / "old").unlink()


def change_content(root):
    (root / "sub" / "old").write_text("OLD")  # of the same size


def change_mode(root):
    (root / "sub" / "old").chmod(0o777)


def change_mode_of_folder(root):
    (root / "sub").chmod(0o700)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "sub").mkdir(mode=0o755)
    (tmp_path / "sub" / "old").write_text("old")
    return tmp_path


def test_view_of_an_untouched_folder_stays_the_same(root):
    assert files.view([root]) == files.view([root])
    assert str(root / "sub" / "old") in files.view([root])


@pytest.mark.parametrize(
    "change",
    [
        add_file,
        add_hidden_file_deep_down,
        add_link,
        add_socket,
        add_fifo,
        remove,
        change_content,
        change_mode,
        change_mode_of_folder,
    ],
)
def test_view_shows_a_change(root, change):
    before = files.view([root])
    change(root)
    assert difference({"file": before}, {"file": files.view([root])})


def test_view_shows_where_a_link_leads(root):
    add_link(root)
    before = files.view([root])
    (root / "link").unlink()
    (root / "link").symlink_to("/elsewhere")
    assert files.view([root]) != before


def test_view_takes_single_files_and_what_is_not_there(root):
    assert set(files.view([root / "sub" / "old", root / "nothing"])) == {str(root / "sub" / "old")}


def test_view_leaves_out_only_what_it_is_told_to(root):
    add_file(root)
    left = files.view([root], without=[root / "sub"])
    assert set(left) == {str(root), str(root / "new")}
