"""The lab's own certificate authority, and the certificates that it signs (with openssl)."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import network
from lab.errors import LabError
from lab.layout import Layout

_DAYS = "3650"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
_API_NAMES = (
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,"
    f"IP:{network.NODE_V4},IP:{network.NODE_V6},IP:127.0.0.1,IP:::1,"
    "IP:10.96.0.1,IP:fd00:10:96::1"
)
# Python 3.13 verifies strictly, RFC 5280: key usage and key identifiers have to be there.
_CONFIG = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, PEM."""

    certificate: str
    key: str


def ensure(layout: Layout) -> None:
    """Make the authority and what the API server needs, once per lab."""
    folder = layout.pki
    if (folder / "sa.pub").exists():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca = _openssl(
        "req", "-x509", *_KEY, "-days", _DAYS, "-subj", "/CN=towline-lab", usage="authority"
    )
    _write(folder, "ca", ca)
    _write(folder, "apiserver", issue(layout, "kube-apiserver", names=_API_NAMES))
    _write(folder, "kubelet-client", issue(layout, "kube-apiserver", group="system:masters"))
    key = folder / "sa.key"
    _run(["openssl", "genpkey", "-algorithm", "RSA", "-out", str(key)])
    _run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(folder / "sa.pub")])


def issue(layout: Layout, user: str, *, group: str = "", names: str = "") -> Certificate:
    """A certificate for `user` (CN) in `group` (O), for servers with `names` as in openssl's
    subjectAltName. Kubernetes takes CN and O of a client as user and group.
    """
    subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
    extra = ("-addext", f"subjectAltName={names}") if names else ()
    signer = ("-CA", str(layout.pki / "ca.crt"), "-CAkey", str(layout.pki / "ca.key"))
    return _openssl(
        "req", "-x509", *signer, *_KEY, "-days", _DAYS, "-subj", subject, *extra, usage="leaf"
    )


def _openssl(*arguments: str, usage: str) -> Certificate:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, key, crt = folder / "config", folder / "key", folder / "crt"
        config.write_text(_CONFIG)
        files = ("-config", str(config), "-extensions", usage)
        _run(["openssl", *arguments, *files, "-keyout", str(key), "-out", str(crt)])
        return Certificate(crt.read_text(), key.read_text())


def _write(folder: Path, name: str, pair: Certificate) -> None:
    (folder / f"{name}.crt").write_text(pair.certificate)
    (folder / f"{name}.key").write_text(pair.key)


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"'{' '.join(argv[:2])}' failed: {done.stderr.strip()}")
