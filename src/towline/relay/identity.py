"""TLS between two ends that have the same key, and so know each other.

Neither goes by names or authorities: each proves that it has the key of the one certificate that
both trust. It is TLS 1.3 (RFC 8446), with certificates of both ends.
"""

from __future__ import annotations

import errno
import os
import ssl


def context(identity: bytes, *, server: bool) -> ssl.SSLContext:
    """What one of the ends speaks TLS by; `identity` has certificate and key, in PEM.

    Raises OSError or ValueError for what is no key with its certificate, or where there is no
    memfd_create(2).
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=identity.decode("ascii"))
    # Keys are read from files only. This one is memory, and nobody's but this process's.
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, "no memfd_create")
    descriptor = os.memfd_create("identity")
    try:
        os.write(descriptor, identity)
        made.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return made
