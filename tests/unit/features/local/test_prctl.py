"""A process that is to end with its parent does."""

import subprocess
import sys

PARENT = """
import os, signal, sys
from towline.features.local.prctl import end_with_parent
parent = os.getpid()
if not os.fork():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    assert end_with_parent(signal.SIGTERM, parent)
    os.write(1, b"ready\\n")
    signal.sigwait({signal.SIGTERM})
    os.write(1, b"ended")
    os._exit(0)
os.wait()
"""
ORPHAN = """
import signal
from towline.features.local.prctl import end_with_parent
print(end_with_parent(signal.SIGTERM, 1 << 30))
"""


def test_killed_parent_is_heard_of():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        assert process.stdout.read() == b"ended"


def test_parent_that_was_gone_before_is_told():
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, check=True)
    assert done.stdout == b"False\n"
