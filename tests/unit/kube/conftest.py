from __future__ import annotations

import ssl

import pytest

from tests.fakes.pki import Authority, Pair
from towline.kube.config import Pem, Tls


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that the tests' servers and clients are signed by."""
    return Authority(tmp_path_factory.mktemp("pki"), "authority")


@pytest.fixture(scope="session")
def server_pair(authority: Authority) -> Pair:
    """The certificate of a server at localhost, 127.0.0.1 and kubernetes.test."""
    names = "DNS:localhost,DNS:kubernetes.test,IP:127.0.0.1"
    return authority.issue("server", alternatives=names)


@pytest.fixture
def server_tls(authority: Authority, server_pair: Pair) -> ssl.SSLContext:
    """A server's side, which asks for client certificates and takes the authority's."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_pair.certificate, server_pair.key)
    context.load_verify_locations(authority.pair.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


@pytest.fixture
def trusting(authority: Authority) -> Tls:
    """What a client's kubeconfig says about such a server."""
    return Tls(ca=Pem(file=authority.pair.certificate))
