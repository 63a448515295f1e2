"""Where the narrator says what."""

from towline.cli.output import narrator


def test_note_is_no_data(capsys):
    with narrator("text") as tell:
        tell.event("note", "this will not work", hint="mend it")
        tell.event("ready", "connected")
    assert capsys.readouterr() == ("connected\n", "note:  this will not work\n")


def test_aside_all_is_marked_and_off_stdout(capsys):
    with narrator("text", aside=True) as tell:
        tell.event("note", "this will not work")
        tell.event("ready", "connected")
    assert capsys.readouterr() == ("", "tow: note:  this will not work\ntow: connected\n")
