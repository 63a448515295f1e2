"""Tell why there was no answer: aiohttp's exceptions as :class:`ConnectionFailed`."""

from __future__ import annotations

import errno
import os
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from towline.kube.errors import ConnectionFailed
from towline.kube.proxy import without_password
from towline.relay.sockets import error_numbers

if TYPE_CHECKING:
    from towline.kube.config import Access
    from towline.kube.resources import Action

#: What :func:`connection_failed` has words for.
FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


def connection_failed(
    error: BaseException, access: Access, proxy: str, what: Action
) -> ConnectionFailed:
    """The error to raise for one of FAILURES; `proxy` is "" when there is none."""
    server = f"{urlsplit(access.server).netloc} of the context {access.context}"
    if isinstance(error, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError):
        return _proxy_failed(error, proxy, server, what)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return _tls_failed(error, server, what)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _not_connected(error, server, access, what)
    if isinstance(error, TimeoutError):
        return _timed_out(error, server, what)
    return ConnectionFailed(
        f"The API server {server} ended the connection without an answer",
        "Try again; if it stays so, look for a proxy, VPN or firewall on the way",
        action=what,
        transient=True,
    )


def _tls_failed(error: BaseException, server: str, what: Action) -> ConnectionFailed:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _not_trusted(error.certificate_error, server, what)
    cause = getattr(error, "os_error", error)
    reason = str(getattr(cause, "reason", None) or cause).replace("_", " ").lower()
    if "certificate" in reason and "alert" in reason:
        return ConnectionFailed(
            f"The API server {server} did not accept your client certificate ({reason})",
            "Sign in to the cluster again, or fetch its kubeconfig again",
            action=what,
        )
    return ConnectionFailed(
        f"No TLS connection to the API server {server}: {reason}",
        "Check the port in the kubeconfig's server address, and that it is really https",
        action=what,
        sent=False,
    )


def _not_trusted(error: Exception, server: str, what: Action) -> ConnectionFailed:
    reason = getattr(error, "verify_message", "") or str(error)
    lowered = reason.lower()
    if "hostname" in lowered or "ip address" in lowered:
        hint = (
            "The server's certificate is for another name: correct the server address in the "
            "kubeconfig, or give the certificate's name there as tls-server-name"
        )
    elif "expired" in lowered or "not yet valid" in lowered:
        hint = "Check this machine's clock; if it is right, the cluster needs a new certificate"
    else:
        hint = (
            "The certificate-authority in the kubeconfig is not that of this server: the cluster "
            "may have been made anew (fetch its kubeconfig again), or something on the way "
            "replaces certificates"
        )
    return ConnectionFailed(
        f"The API server {server} could not prove who it is: {reason}",
        hint,
        action=what,
        sent=False,
    )


def _not_connected(
    error: aiohttp.ClientConnectorError, server: str, access: Access, what: Action
) -> ConnectionFailed:
    numbers = error_numbers(error.os_error)
    written_in = f"the server address of the context {access.context} in {access.source}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        summary = f"The name of the API server {server} is not known"
        hint = f"Check the network or VPN, and {written_in}"
    elif errno.ECONNREFUSED in numbers:
        summary = f"Nothing listens at the API server's address {server} (connection refused)"
        hint = f"Is the cluster running? Check also {written_in}"
    else:
        reasons = "; ".join(dict.fromkeys(map(os.strerror, numbers))) or str(error.os_error)
        summary = f"There is no way to the API server {server}: {reasons}"
        hint = f"Check the network or VPN, and {written_in}"
    return ConnectionFailed(
        summary,
        hint,
        action=what,
        transient=not _TRANSIENT.isdisjoint(numbers),
        sent=False,
    )


# A server or a link that is just starting again looks like these for a moment.
_TRANSIENT = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH}


def _timed_out(error: TimeoutError, server: str, what: Action) -> ConnectionFailed:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectionFailed(
            f"The API server {server} cannot be reached: no answer to the attempt to connect",
            "Check the network or VPN; a firewall that drops packets looks like this too",
            action=what,
            sent=False,
        )
    return ConnectionFailed(
        f"The API server {server} took too long to answer",
        "Try again in a minute; if it stays so, the cluster or the way to it is overloaded",
        action=what,
    )


def _proxy_failed(
    error: aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError,
    proxy: str,
    server: str,
    what: Action,
) -> ConnectionFailed:
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        reason, hint = "it cannot be reached", "Check the proxy's address"
    elif error.status == 407:
        reason, hint = "it wants a user and password", "Give them in the proxy's URL"
    else:
        reason = f"it answered {error.status} {error.message}".rstrip()
        hint = "Ask its owner to let you through to the cluster"
    return ConnectionFailed(
        f"The proxy {without_password(proxy)} does not lead to the API server {server}: {reason}",
        f"{hint}. It is set by proxy-url in the kubeconfig or by HTTPS_PROXY; NO_PROXY names "
        "what to reach without it",
        action=what,
        sent=False,
    )
