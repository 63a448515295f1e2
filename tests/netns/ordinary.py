"""Programs run by an ordinary user with the real sudo, on a machine that seems to allow it.

In a private mount namespace: accounts, sudo's rules, its records and logs are copies or empty
there, so that the machine's own are neither changed nor asked.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

USER, PASSWORD, UID = "tower", "let me in", 54321

FREELY = f"{USER} ALL=(root) NOPASSWD: ALL"
WITH_PASSWORD = f"{USER} ALL=(root) ALL"
NOT_AT_ALL = ""
LOGGED = f"Defaults log_input\n{FREELY}"

_PRIVATE = """
for name in passwd shadow group sudoers.d; do mount --bind "$0/$name" "/etc/$name"; done
for empty in /run /var/log /var/lib/sudo; do
  if [ -d "$empty" ]; then mount -t tmpfs none "$empty"; fi
done
exec setpriv --reuid UID --regid UID --clear-groups \\
  --inh-caps +dac_read_search --ambient-caps +dac_read_search -- "$@"
""".replace("UID", str(UID))


def command(place, rules, *arguments):
    """The command line that runs a Python program as the user; `place` is an empty directory.

    The user may read every file, since the checkout may lie where users cannot.
    """
    if not shutil.which("sudo"):
        raise AssertionError("these tests need sudo: apt-get install sudo")
    _write_accounts(place)
    (place / "sudoers.d").mkdir()
    _write(place / "sudoers.d" / "tests", rules + "\n", 0o440)
    return [
        *("unshare", "--mount", "--propagation", "private", "sh", "-ec", _PRIVATE, str(place)),
        *(sys.executable, *map(str, arguments)),
    ]


def _write_accounts(place):
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    for name, line, mode in (
        ("passwd", f"{USER}:x:{UID}:{UID}::/:/bin/sh", 0o644),
        ("group", f"{USER}:x:{UID}:", 0o644),
        ("shadow", f"{USER}:{hashed}:19000:0:99999:7:::", 0o600),
    ):
        _write(place / name, (Path("/etc") / name).read_text() + line + "\n", mode)


def _write(path, text, mode):
    path.write_text(text)
    path.chmod(mode)


class Terminal:
    """A program on a terminal of its own, and somebody who reads and types."""

    def __init__(self, arguments):
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            os.execvp(arguments[0], arguments)
        self.shown = ""

    def wait_for(self, pattern, seconds=20):
        """Read until a pattern has been shown since the last call; gives the match."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            if not self._read(deadline):
                raise AssertionError(f"{pattern!r} was not shown, but: {self.shown}")
        self.shown = self.shown[found.end() :]
        return found

    def type(self, text):
        os.write(self._terminal, text.encode())

    def hang_up(self):
        os.close(self._terminal)
        self._terminal = -1

    def wait(self, seconds=20):
        """Wait for the program to end; gives its exit status."""
        deadline = time.monotonic() + seconds
        while self._terminal >= 0 and self._read(deadline):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._terminal], [], [], left)[0]:
            return False
        try:
            data = os.read(self._terminal, 4096)
        except OSError:  # the other end is closed
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
