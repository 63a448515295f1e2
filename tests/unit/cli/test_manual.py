import re

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from towline.cli import main as cli
from towline.cli.commands import COMMANDS
from towline.cli.manual import escape, pages

ROOT = click.Context(cli.main, info_name="tow", **cli.main.context_settings)
PAGES = dict(pages(ROOT))


def test_every_command_has_a_page() -> None:
    assert {f"tow-{name}" for name in COMMANDS} <= set(PAGES)
    for name in COMMANDS:
        assert f"tow\\-{name}" in PAGES["tow"]


@pytest.mark.parametrize("name", PAGES)
def test_page_has_what_a_manual_page_has(name: str) -> None:
    sections = re.findall(r"(?m)^\.SH (.*)", PAGES[name])
    assert sections[:5] == ["NAME", "SYNOPSIS", "EXAMPLES", "DESCRIPTION", "OPTIONS"]
    assert sections[-1] == "SEE ALSO"


@pytest.mark.parametrize("name", COMMANDS)
def test_page_has_every_option_and_its_variable(name: str) -> None:
    command = cli.main.get_command(ROOT, name)
    assert command is not None
    page = PAGES[f"tow-{name}"]
    for each in command.params:
        if isinstance(each, click.Option) and not each.hidden:
            for spelling in each.opts:
                assert escape(spelling) in page
            if name != "config":
                assert f"TOW_{name}_{each.opts[-1][2:]}".upper().replace("-", "_") in page
    assert escape("-h, --help") in page


def test_no_variable_is_told_of_that_sets_nothing() -> None:
    told = {name for name, page in PAGES.items() if ".SH ENVIRONMENT" in page}
    assert not [name for name in told if name.startswith("tow-config")]
    assert "TOW_PROFILE" in PAGES["tow"]


@given(st.text())
def test_text_is_never_markup(text: str) -> None:
    lines = escape(text).split("\n")
    assert not any(line.startswith((".", "'")) for line in lines)
    assert escape(text).isascii()
    assert not re.search(r"\\(?![e&\-]|\[u[0-9A-F]{4,6}\])", escape(text))


def test_pages_are_written_where_they_are_wanted(tmp_path) -> None:
    folder = tmp_path / "share" / "man1"
    done = CliRunner().invoke(cli.main, ["man", str(folder)])
    assert done.exit_code == 0, done.output
    assert {path.name for path in folder.iterdir()} == {f"{name}.1" for name in PAGES}


def test_folder_that_cannot_be_made_is_an_error(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="cannot be written to"):
        cli.main(["man", str(tmp_path / "file" / "man1")], standalone_mode=False)
