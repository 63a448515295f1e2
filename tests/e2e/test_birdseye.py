"""All that there is, who is at it, and whether they are there."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress

import pytest

from tests.e2e.broken import NAMESPACE, allowed, leftovers, told
from tests.e2e.tow import END_SECONDS, connected
from tests.e2e.waiting import until

# A session that fell silent is missed after some, and it is looked every two.
SHOWN_SECONDS = 40.0
PREVIEW = ("mine", "--expose=8080:80", "-n", NAMESPACE, "--grace=60")

pytestmark = pytest.mark.usefixtures("no_trace")


def uses(sights):
    """Who is at what, and whether they are there, or have left it behind."""
    return {
        sight["target"]: [(use["command"], use["laptop"], use["left"]) for use in sight["uses"]]
        for sight in sights
    }


@contextmanager
def watching(laptop, *arguments):
    """A watch under way; gives what waits until it shows what is wanted."""
    argv = [laptop.tow, "birdseye", "--watch", "-o", "json", *arguments]
    shown = []

    def read(lines):
        with suppress(ValueError):
            shown.extend(uses(json.loads(line)) for line in lines)

    def shows(wanted):
        until(lambda: shown[-1:] == [wanted], SHOWN_SECONDS, f"{wanted}, but {shown[-1:]}")

    with laptop.start(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        reader = threading.Thread(target=read, args=[process.stdout], daemon=True)
        reader.start()
        try:
            yield shows
            process.send_signal(signal.SIGINT)
            assert process.wait(END_SECONDS) == 0
        finally:
            process.kill()
            reader.join()


def test_documented_rights_show_who_is_there_and_who_is_gone(lab, laptop):
    nobody = {"deploy/web": []}
    left = {**nobody, "svc/web": [("exchange", "gone", True)]}
    with leftovers(lab, laptop), allowed(lab, laptop, "birdseye") as who:
        with watching(laptop, *who) as shows:
            shows(left)
            with connected(laptop, *PREVIEW, command="preview") as session:
                here = {**left, "svc/mine": [("preview", "there", False)]}
                shows(here)
                session.process.send_signal(signal.SIGSTOP)
                shows({**left, "svc/mine": [("preview", "away", False)]})
                session.process.send_signal(signal.SIGCONT)
                shows(here)
            shows(left)
        in_lines(laptop)
        told(laptop, "recover", "web", "-n", NAMESPACE)
    assert uses(told(laptop, "birdseye", "-n", NAMESPACE)) == {**nobody, "svc/web": []}


def in_lines(laptop):
    done = laptop.run(laptop.tow, "birdseye", "-A")
    (line,) = [each for each in done.stdout.splitlines() if "gone: left behind" in each]
    assert line.split()[:4] == [NAMESPACE, "svc/web", "exchange", "selector"]
    assert "'tow clean'" in done.stderr
