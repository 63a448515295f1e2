"""Texts that follow each other where there is no terminal."""

import subprocess
import sys

import pytest

from towline.cli.redrawing import redrawing

FOR_EVER = """
from towline.cli.redrawing import redrawing
with redrawing(in_place=True) as show:
    while True:
        show("line")
"""

UNREAD = """
import asyncio
from towline.cli.redrawing import nobody_reads
print("line", flush=True)
asyncio.run(nobody_reads())
"""


@pytest.mark.parametrize(("in_place", "said"), [(True, "a\n\nb\n"), (False, "a\nb\n")])
def test_without_a_terminal_one_follows_the_other(capsys, in_place, said):
    with redrawing(in_place=in_place) as show:
        show("a")
        show("b")
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("script", [FOR_EVER, UNREAD])
def test_it_ends_in_silence_when_nobody_reads_any_more(script):
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
