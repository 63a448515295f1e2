"""What `tow up` shows of what its entries tell."""

import io
import json
import sys

from towline.cli.upview import showing

LABELS = ["connect", "exchange web"]
WORKER = "run worker"
READY = {"event": "ready", "message": "connected. Ctrl-C ends it.\nTry this.", "pid": 7}
PROGRESS = {"event": "progress", "message": "a step that is over at once"}
NOTE = {"event": "note", "message": "this will not work"}


def test_lines_name_who_tells_them(capsys):
    with showing("text", LABELS, ()) as view:
        view.event("connect", PROGRESS)
        view.event("connect", READY)
        view.event("exchange web", NOTE)
        view.line("exchange web", "GET /\x1b[2J")
        view.summary("All is up.", event="ready")
    assert capsys.readouterr() == (
        (
            "connect      | connected.\n"
            "connect      | Try this.\n"
            "exchange web | GET /\N{REPLACEMENT CHARACTER}[2J\n"
            "All is up.\n"
        ),
        "exchange web | note:  this will not work\n",
    )


def test_json_is_each_event_with_its_entry(capsys):
    with showing("json", LABELS, ()) as view:
        view.event("connect", READY)
        view.line("exchange web", "GET /")
        view.summary("All is up.", event="ready", seconds=1.5)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {**READY, "entry": "connect"},
        {"event": "output", "entry": "exchange web", "line": "GET /"},
        {"event": "ready", "message": "All is up.", "seconds": 1.5},
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_all_are_in_one_table_which_is_gone_at_the_end(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with showing("text", [*LABELS, WORKER], ["connect"]) as view:
        view.event("exchange web", {**PROGRESS, "message": "waits [/x]"})
        assert terminal.getvalue() == "", "sudo may be asking for a password"
        view.event("connect", READY)
        view.line("exchange web", "GET /")
        shown = terminal.getvalue()
        assert "connected." in shown
        assert "waits [/x]" in shown
        assert "starting" in shown
        view.event("exchange web", READY)
        view.summary("All is up.", event="ready")
        assert "running" in terminal.getvalue().removeprefix(shown)
    assert "exchange web | GET /" in terminal.getvalue()
    assert "connect      | Try this." in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")
