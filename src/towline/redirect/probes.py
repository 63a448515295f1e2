"""What would not work here, told before it is tried in earnest: for `tow check`.

Nothing on this machine is changed, no password is asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from towline.redirect import launch

_TRIAL_SECONDS = 20
_IPV6_OFF = Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6")


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that the redirect needs: `ok` is None when it cannot be told without root.

    `what` was found, and `hint` is what to do about it when it is not good.
    """

    name: str
    ok: bool | None
    what: str
    hint: str = ""


async def probe_all() -> list[Probe]:
    """Look at everything that the redirect needs of this machine."""
    return [await probe_root(), *await probe_kernel(), probe_ipv6()]


async def probe_root() -> Probe:
    """Whether the helper could be started as root."""
    if os.geteuid() == 0:
        return Probe("root", True, "running as root: sudo is not needed")
    sudo = shutil.which("sudo")
    if sudo is None:
        return Probe("root", False, "not root, and there is no sudo", launch.NO_SUDO_HINT)
    code, said = await _run(sudo, "-n", "-l", "--", *launch.HELPER)
    if code == 0:
        return Probe("root", True, "sudo starts the helper")
    if "password is required" in said:
        return Probe("root", True, "sudo starts the helper, and asks for a password if it must")
    what = said.strip().splitlines()[-1] if said.strip() else "sudo does not start the helper"
    return Probe("root", False, what, launch.DENIED_HINT)


async def probe_kernel() -> list[Probe]:
    """Whether the kernel has all that the redirect needs."""
    code, said = await _run(sys.executable, "-I", "-m", "towline.redirect.trial")
    try:
        return [Probe(**each) for each in json.loads(said)]
    except (ValueError, TypeError):
        what = said.strip().splitlines()[-1] if said.strip() else f"the trial ended with {code}"
        return [Probe("kernel", None, what)]


def probe_ipv6() -> Probe:
    """Whether IPv6 can be redirected; all else works without it."""
    try:
        is_off = _IPV6_OFF.read_text().strip() != "0"
    except OSError:
        is_off = True
    if is_off:
        return Probe(
            "ipv6",
            True,
            "this machine has IPv6 turned off: the cluster's IPv6 addresses will not be reachable",
            "Turn it on: `sudo sysctl net.ipv6.conf.all.disable_ipv6=0`.",
        )
    return Probe("ipv6", True, "this machine has IPv6")


async def _run(*command: str) -> tuple[int, str]:
    """Run a command for its exit status and what it says; never longer than `_TRIAL_SECONDS`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C"},
    )
    try:
        async with asyncio.timeout(_TRIAL_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, ""
    return process.returncode or 0, said.decode(errors="replace")
