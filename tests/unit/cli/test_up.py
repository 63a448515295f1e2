"""`tow up` as far as it goes without a cluster."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from towline.cli import main as cli
from towline.cli.commands import COMMANDS
from towline.cli.up import SESSIONS, forms
from towline.settings import plan

DOCUMENTS = Path(__file__).parents[3] / "docs"
FILES = re.findall(r"(?s)```yaml\n(# towline\.yaml.*?)```", (DOCUMENTS / "up.md").read_text())
FILE = """
connect: {namespace: dev}
exchange:
  - target: web
    expose: ["8080:80"]
    run: [python3, app.py, two words]
run:
  - {name: worker, command: [python3, worker.py]}
"""


def up(folder: Path, text: str, *arguments: str):
    file = folder / "towline.yaml"
    file.write_text(text)
    return CliRunner().invoke(cli.main, ["up", "-f", str(file), *arguments])


def test_dry_run_tells_the_commands_that_it_comes_to(tmp_path):
    done = up(tmp_path, FILE, "--dry-run")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "tow connect --namespace=dev",
        "tow exchange web --expose=8080:80 -- python3 app.py 'two words'",
        "python3 worker.py",
    ]
    assert "dry run" in done.stderr


def test_dry_run_for_machines(tmp_path):
    done = up(tmp_path, FILE, "--dry-run", "-o", "json")
    connect, _, worker = json.loads(done.stdout)
    assert connect == {"entry": "connect", "command": ["tow", "connect", "--namespace=dev"]}
    assert worker == {"entry": "run worker", "command": ["python3", "worker.py"]}


def test_what_is_wrong_is_an_event_for_machines(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        (tmp_path / "towline.yaml").write_text("conect:")
        cli.run(["up", "-f", str(tmp_path / "towline.yaml"), "-o", "json"])
    event = json.loads(capsys.readouterr().out)
    assert caught.value.code == event["exit_code"] == 2
    assert "towline.yaml:1: There is no 'conect'" in event["summary"]


def test_program_that_is_not_there_is_known_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = up(tmp_path, "run: {command: [nothing-of-this-name]}")
    assert getattr(done.exception, "exit_code", None) == 127


def test_every_command_that_is_a_session_has_entries_with_its_options():
    found = forms()
    assert set(found) == set(SESSIONS) & set(COMMANDS)
    assert found["exchange"].arguments == ("target",)
    assert {"namespace", "expose", "mode", "image"} <= set(found["exchange"].options)
    assert not {"output", "detach"} & {name for form in found.values() for name in form.options}
    assert found["exchange"].takes_program
    assert not found["connect"].takes_program


def test_schema_for_editors_is_current():
    printed = CliRunner().invoke(cli.main, ["up", "--schema"]).stdout
    assert (DOCUMENTS / "towline.schema.json").read_text() == printed, (
        "run: tow up --schema > docs/towline.schema.json"
    )


@pytest.mark.parametrize("text", FILES)
def test_files_in_the_documents_are_right(text):
    assert plan.parse(text, "docs/up.md", DOCUMENTS, forms())


def test_documents_have_files():
    assert len(FILES) >= 3
