"""Makes a key and its certificate, which nobody has but who is given them; tells them on stdout.

What it imports takes some 12 MB for as long as a process lasts, hence one of its own.
"""

from __future__ import annotations

import datetime
import sys

# Whatever the clocks of both ends say.
_VALID = datetime.timedelta(days=3650)
_NAME = "towline"


def new() -> bytes:
    """A certificate and its key, in PEM."""
    # Whoever runs this knows why; who only names the module is to pay nothing.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate + secret


if __name__ == "__main__":
    sys.stdout.buffer.write(new())
