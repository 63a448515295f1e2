"""Where the narrator says what."""

import sys

from towline.cli.output import narrator, show_error, write_table
from towline.errors import TowlineError

EVIL = "\x1b[2J\x9b2Jmoney\r"


def test_note_is_no_data(capsys):
    with narrator("text") as tell:
        tell.event("note", "this will not work", hint="mend it")
        tell.event("ready", "connected")
    assert capsys.readouterr() == ("connected\n", "note:  this will not work\n")


def test_aside_each_line_is_marked(capsys):
    with narrator("text", aside=True) as tell:
        tell.event("ready", "one\ntwo")
    assert capsys.readouterr().err == "tow: one\ntow: two\n"


def test_aside_all_is_marked_and_off_stdout(capsys):
    with narrator("text", aside=True) as tell:
        tell.event("note", "this will not work")
        tell.event("ready", "connected")
    assert capsys.readouterr() == ("", "tow: note:  this will not work\ntow: connected\n")


def test_what_others_wrote_cannot_drive_the_terminal(capsys):
    with narrator("text") as tell:
        tell.event("ready", EVIL)
    show_error(TowlineError(EVIL, EVIL))
    write_table(("WHO",), [(EVIL,)])
    said = "".join(capsys.readouterr())
    assert said.count("money") == 4
    assert not set(said) & set("\x1b\x9b\r")


def test_brackets_in_what_is_waited_for_are_no_markup(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with narrator("text") as tell:
        tell.progress("the volume [/data] [b]")
    assert "[/data] [b]" in capsys.readouterr().err


def test_step_that_follows_an_event_at_once_needs_no_line(capsys, monkeypatch):
    """An hour after a session has begun its link may be lost: that is the line."""
    now = 0.0
    monkeypatch.setattr("towline.cli.output.time.monotonic", lambda: now)
    with narrator("text") as tell:
        now = 3600.0
        tell.event("reconnecting", "The link is lost.")
        tell.progress("Waiting for this")
        now += 1.0
        tell.progress("Waiting for that")
    assert capsys.readouterr() == ("The link is lost.\n", "Waiting for that\n")
