"""Starting the root helper: directly as root, else through sudo."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress

from towline.errors import AccessError
from towline.redirect import messages

HELPER = (sys.executable, "-I", "-m", "towline.redirect.helper")

NO_SUDO_HINT = "Install sudo, or run the command as root."
DENIED_HINT = f"Changing this machine's network needs root. Let sudoers allow: {' '.join(HELPER)}"
_INPUT_LOGGED_HINT = "Turn off sudo's log_input for this command, or run the command as root."
_NO_TERMINAL_HINT = (
    "There is no terminal to ask for a password on: run `sudo -v` first, "
    "or allow it without one in sudoers (NOPASSWD)."
)

# What was started ends within milliseconds of the helper's first answer, or of its own refusal.
_END_SECONDS = 5.0
# sudo that asks for a password cannot be ended by the user who started it; it ends with the
# terminal's Ctrl-C, or when the password has come and the helper finds nobody there.
_STOP_SECONDS = 0.5
_SAID_BYTES = 4096


async def start_helper() -> socket.socket:
    """Start the helper, and give the socket (non-blocking, not inheritable) on which it answers.

    It has done nothing yet, and ends as soon as every copy of the socket is closed. Waits as
    long as sudo waits for a password. Raises AccessError when root is not to be had.
    """
    command = _command()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    try:
        with theirs:
            process = _start(command, theirs.fileno())
        try:
            is_there = await _greets(ours)
            await _end_of(process)
            if not is_there:
                raise _denied(process)
        finally:
            _leave(process)
    except BaseException:
        ours.close()
        raise
    return ours


def _command() -> list[str]:
    if os.geteuid() == 0:
        return [*HELPER]
    sudo = shutil.which("sudo")
    if sudo is None:
        raise AccessError("This needs root, and there is no sudo.", NO_SUDO_HINT)
    return [sudo, *([] if _has_terminal() else ["-n"]), "--", *HELPER]


def _start(command: list[str], standard_input: int) -> subprocess.Popen[bytes]:
    """Start the command; what sudo and PAM say goes to the user, who may have to act on it.

    Not to our standard output, which may be read by a program. Without a user it is kept.
    """
    if _has_terminal():
        return subprocess.Popen(command, stdin=standard_input, stdout=2, cwd="/")
    return subprocess.Popen(
        command,
        stdin=standard_input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        cwd="/",
    )


def _has_terminal() -> bool:
    """Whether sudo could ask for a password: it opens the controlling terminal itself."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _greets(ours: socket.socket) -> bool:
    """Whether the helper is there; if not, it was not allowed to run."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(ours, messages.encode(messages.Hello()))
        return bool(await loop.sock_recv(ours, messages.MAX_MESSAGE_BYTES))
    except OSError:
        return False


async def _end_of(process: subprocess.Popen[bytes]) -> None:
    """Wait for what was started to end: the helper has left it, or was not let in."""
    ended = asyncio.Event()
    watch = os.pidfd_open(process.pid)
    asyncio.get_running_loop().add_reader(watch, ended.set)
    try:
        async with asyncio.timeout(_END_SECONDS):
            await ended.wait()
    except TimeoutError:
        return
    finally:
        asyncio.get_running_loop().remove_reader(watch)
        os.close(watch)


def _leave(process: subprocess.Popen[bytes]) -> None:
    """Take leave of what was started, and end it if it has not ended by itself."""
    if process.poll() is None:
        with suppress(PermissionError, subprocess.TimeoutExpired):
            process.terminate()
            process.wait(_STOP_SECONDS)
    if process.stdout:
        process.stdout.close()


def _denied(process: subprocess.Popen[bytes]) -> AccessError:
    summary = "The helper that changes this machine's network could not be started as root."
    if said := _said(process):
        summary += f" ({said.splitlines()[-1]})"
    if process.poll() == messages.NO_PEER_STATUS:
        return AccessError(summary, _INPUT_LOGGED_HINT)
    if os.geteuid() != 0 and not _has_terminal():
        return AccessError(summary, _NO_TERMINAL_HINT)
    return AccessError(summary, DENIED_HINT)


def _said(process: subprocess.Popen[bytes]) -> str:
    if process.stdout is None:
        return ""
    os.set_blocking(process.stdout.fileno(), False)
    try:
        return (process.stdout.read(_SAID_BYTES) or b"").decode(errors="replace").strip()
    except BlockingIOError:
        return ""
