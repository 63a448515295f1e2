"""Credentials that end within seconds: the API server itself gives none for less than minutes."""

from __future__ import annotations

import base64
import datetime
import json
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.layout import Layout
from lab.pki import Certificate

# For so long the API server takes a token that has expired, as clocks differ.
_LEEWAY_SECONDS = 60
_ISSUER = "https://kubernetes.default.svc"
_EARLIER = datetime.timedelta(hours=1)


def token(layout: Layout, namespace: str, account: str, uid: str, seconds: float) -> str:
    """A token of a service account, as the API server would sign it.

    What was accepted once is for 10 s more (the API server's cache of tokens).
    """
    now = int(time.time())
    claims = {
        "iss": _ISSUER,
        "aud": [_ISSUER],
        "sub": f"system:serviceaccount:{namespace}:{account}",
        "iat": now - _LEEWAY_SECONDS,
        "nbf": now - _LEEWAY_SECONDS,
        "exp": now + seconds - _LEEWAY_SECONDS,
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": account, "uid": uid},
        },
    }
    signed = ".".join(_encoded(json.dumps(each).encode()) for each in ({"alg": "RS256"}, claims))
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(layout.pki / "sa.key")],
        input=signed.encode(),
        capture_output=True,
        check=True,
    )
    return f"{signed}.{_encoded(done.stdout)}"


def certificate(layout: Layout, user: str, group: str, seconds: float) -> Certificate:
    """A client certificate, by the lab's authority; its end is kept to the second."""
    authority = x509.load_pem_x509_certificate((layout.pki / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((layout.pki / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    names = ((NameOID.ORGANIZATION_NAME, group), (NameOID.COMMON_NAME, user))
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, text) for oid, text in names]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(seconds=seconds))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(signer, hashes.SHA256())
    )
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Certificate(
        made.public_bytes(serialization.Encoding.PEM).decode(), key.private_bytes(*form).decode()
    )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
