"""TLS contexts from what a kubeconfig says, leaving no key material on any disk."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from towline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from towline.kube.config import Tls


def client_context(tls: Tls, certificate: bytes = b"", key: bytes = b"") -> ssl.SSLContext:
    """A context for connections to the API server.

    `certificate` and `key` are PEM, the user's own, empty for none. Raises ConfigError for
    anything that cannot be used.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.peer_name = tls.server_name
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca:
        # A kubeconfig may pin an intermediate or the server's own certificate as its authority.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _trust(context, tls.ca.read())
    else:
        context.load_default_certs()
    if certificate:
        _identify(context, certificate, key)
    return context


class _Context(ssl.SSLContext):
    """Verifies, and asks by SNI for, `peer_name` instead of the host that was connected to."""

    peer_name = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = self.peer_name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, name, session)


_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def _trust(context: ssl.SSLContext, pem: bytes) -> None:
    # Bundles carry comments in any encoding between the blocks; OpenSSL wants ASCII.
    blocks = b"\n".join(_CERTIFICATE.findall(pem))
    try:
        context.load_verify_locations(cadata=blocks.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            "The certificate-authority in the kubeconfig holds no usable certificate",
            "It must be PEM (-----BEGIN CERTIFICATE-----); make the kubeconfig anew",
        ) from error


def _identify(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    with ExitStack() as stack:
        certificate_path = stack.enter_context(_unnamed_file(certificate))
        key_path = stack.enter_context(_unnamed_file(key))
        try:
            context.load_cert_chain(certificate_path, key_path, password=_no_password)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise ConfigError(
                "The client certificate and key in the kubeconfig cannot be used together",
                "They must be PEM, belong to each other, and have no passphrase",
            ) from error


def _no_password() -> str:
    # OpenSSL would ask on the terminal.
    raise ValueError("the key has a passphrase")


@contextmanager
def _unnamed_file(content: bytes) -> Iterator[str]:
    """A path to `content` that ends with this process, whatever ends it.

    OpenSSL takes certificates from paths only. On Linux the content never leaves memory;
    elsewhere it is in a file that has no name from its first moment.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("towline", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield f"/dev/fd/{descriptor}"
    finally:
        os.close(descriptor)
