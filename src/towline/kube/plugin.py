"""Run exec credential plugins (client.authentication.k8s.io v1 and v1beta1).

See https://kubernetes.io/docs/reference/config-api/client-authentication.v1/.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from towline.errors import ConfigError

if TYPE_CHECKING:
    from towline.kube.config import Access, ExecPlugin

# Without a person: signing in over a slow network. With one: finding the phone for the code.
TIMEOUT_SECONDS = 60.0
INTERACTIVE_TIMEOUT_SECONDS = 300.0

# Enough of what a plugin complained about to understand it.
_COMPLAINT_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Given:
    """What a plugin gave; `expires` is seconds since the epoch, infinity for never."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    expires: float = float("inf")


async def run_plugin(access: Access, timeout: float | None = None) -> Given:
    """Run the plugin of the user of `access` once, as this process's own user.

    Raises ConfigError when it is not there, fails, takes longer than `timeout` seconds, or
    gives what is not a credential. A plugin that is no longer waited for is killed.
    """
    plugin = access.user.exec
    if plugin is None:
        raise ValueError("the user has no exec plugin")
    interactive = _is_interactive(plugin, access)
    if timeout is None:
        timeout = INTERACTIVE_TIMEOUT_SECONDS if interactive else TIMEOUT_SECONDS
    environ = {**os.environ, **dict(plugin.env)}
    environ["KUBERNETES_EXEC_INFO"] = json.dumps(_exec_info(access, plugin, interactive))
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.args,
            stdin=None if interactive else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            # With a person at the terminal, what it says there is meant to be seen at once.
            stderr=None if interactive else asyncio.subprocess.PIPE,
            env=environ,
            start_new_session=not interactive,
        )
    except (OSError, ValueError) as error:
        raise _not_started(access, plugin, error) from error
    output, complaint = await _finish(process, access, plugin, timeout)
    if process.returncode != 0:
        raise _failed(
            access, plugin, f"ended with exit code {process.returncode}{_quote(complaint)}"
        )
    return _parse(output, access, plugin)


async def _finish(
    process: asyncio.subprocess.Process, access: Access, plugin: ExecPlugin, timeout: float
) -> tuple[bytes, bytes]:
    try:
        async with asyncio.timeout(timeout):
            output, complaint = await process.communicate()
    except TimeoutError as error:
        raise _failed(access, plugin, f"gave no answer within {timeout:g} seconds") from error
    finally:
        await _end(process)
    return output or b"", complaint or b""


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is still running: the plugin and, in a group of its own, what it started."""
    if process.returncode is not None:
        return
    if os.getpgid(process.pid) == process.pid:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    await process.wait()


def _is_interactive(plugin: ExecPlugin, access: Access) -> bool:
    terminal = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
    if plugin.interactive_mode == "Always" and not terminal:
        raise _failed(access, plugin, "needs a terminal to ask you something, and there is none")
    return terminal and plugin.interactive_mode != "Never"


def _exec_info(access: Access, plugin: ExecPlugin, interactive: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        spec["cluster"] = _cluster_info(access, plugin)
    return {"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec}


def _cluster_info(access: Access, plugin: ExecPlugin) -> dict[str, Any]:
    ca = access.tls.ca.read() if access.tls.ca else b""
    info = {
        "server": access.server,
        "tls-server-name": access.tls.server_name,
        "insecure-skip-tls-verify": access.tls.insecure,
        "certificate-authority-data": base64.b64encode(ca).decode(),
        "proxy-url": access.proxy,
        "config": plugin.cluster_config,
    }
    return {key: value for key, value in info.items() if value}


def _parse(output: bytes, access: Access, plugin: ExecPlugin) -> Given:
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise _failed(access, plugin, "gave something that is not JSON") from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or answer.get("kind") != "ExecCredential":
        raise _failed(access, plugin, "gave no ExecCredential with a status")
    if answer.get("apiVersion") != plugin.api_version:
        raise _failed(
            access,
            plugin,
            f"gave version {answer.get('apiVersion')}, and the kubeconfig says "
            f"{plugin.api_version}",
        )
    token, certificate, key = (
        str(status.get(name) or "") for name in ("token", "clientCertificateData", "clientKeyData")
    )
    if bool(certificate) != bool(key):
        raise _failed(access, plugin, "gave only one of a client certificate and its key")
    if not token and not certificate:
        raise _failed(access, plugin, "gave neither a token nor a client certificate")
    return Given(
        token=token,
        certificate=certificate.encode(),
        key=key.encode(),
        expires=_expiry(status.get("expirationTimestamp"), access, plugin),
    )


def _expiry(value: object, access: Access, plugin: ExecPlugin) -> float:
    if value is None:
        return float("inf")
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise _failed(access, plugin, f'gave the expiry "{value}", which is no time') from error


def _not_started(access: Access, plugin: ExecPlugin, error: Exception) -> ConfigError:
    if isinstance(error, FileNotFoundError):
        return ConfigError(
            f'The sign-in program "{plugin.command}" that {access.user.label} names is not '
            "installed",
            plugin.install_hint
            or "Install it as your cluster's provider says, and see that it is in PATH",
        )
    return _failed(access, plugin, f"could not be started: {error}")


def _failed(access: Access, plugin: ExecPlugin, what: str) -> ConfigError:
    return ConfigError(
        f'The sign-in program "{plugin.command}" of {access.user.label} {what}',
        "Sign in to your cluster's provider again; what the program says is explained in its own "
        "documentation",
    )


def _quote(text: bytes) -> str:
    """The end of what a program said, on one line and without control characters."""
    words = " ".join(text.decode("utf-8", "replace").split())
    shown = "".join(c for c in words[-_COMPLAINT_CHARACTERS:] if c.isprintable())
    return f": {shown}" if shown else ""
