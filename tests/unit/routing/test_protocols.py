"""What a port speaks, by its appProtocol, then its name, then the bytes."""

from __future__ import annotations

import pytest

from towline.routing.protocols import Speaks, ToldBy, told


@pytest.mark.parametrize(
    ("port", "speaks", "by", "said"),
    [
        ({"appProtocol": "http"}, Speaks.HTTP, ToldBy.APP_PROTOCOL, "HTTP (appProtocol http)"),
        ({"appProtocol": "kubernetes.io/h2c"}, Speaks.HTTP, ToldBy.APP_PROTOCOL, None),
        ({"appProtocol": "kubernetes.io/ws"}, Speaks.HTTP, ToldBy.APP_PROTOCOL, None),
        ({"appProtocol": "kubernetes.io/wss"}, Speaks.TLS, ToldBy.APP_PROTOCOL, None),
        ({"appProtocol": "GRPC"}, Speaks.HTTP, ToldBy.APP_PROTOCOL, None),
        ({"appProtocol": "https", "name": "http"}, Speaks.TLS, ToldBy.APP_PROTOCOL, None),
        (
            {"appProtocol": "mysql"},
            Speaks.OTHER,
            ToldBy.APP_PROTOCOL,
            "not HTTP (appProtocol mysql)",
        ),
        (
            {"appProtocol": "example.com/own", "name": "http"},
            Speaks.OTHER,
            ToldBy.APP_PROTOCOL,
            None,
        ),
        ({"name": "http"}, Speaks.HTTP, ToldBy.NAME, "HTTP (name http)"),
        ({"name": "http-metrics"}, Speaks.HTTP, ToldBy.NAME, None),
        ({"name": "grpc-web"}, Speaks.HTTP, ToldBy.NAME, None),
        ({"name": "https-admin"}, Speaks.TLS, ToldBy.NAME, "HTTP over TLS (name https-admin)"),
        ({"name": "tcp-db"}, Speaks.OTHER, ToldBy.NAME, None),
        ({"name": "redis"}, Speaks.OTHER, ToldBy.NAME, None),
        ({"name": "httpbin"}, Speaks.LOOK, ToldBy.BYTES, "HTTP if the first bytes are"),
        ({"name": "web"}, Speaks.LOOK, ToldBy.BYTES, None),
        ({"name": ""}, Speaks.LOOK, ToldBy.BYTES, None),
        ({}, Speaks.LOOK, ToldBy.BYTES, None),
        ({"appProtocol": None, "name": None}, Speaks.LOOK, ToldBy.BYTES, None),
    ],
)
def test_protocol_is_told_in_that_order(port, speaks, by, said):
    found = told({"port": 80, **port})
    assert (found.speaks, found.by) == (speaks, by)
    assert said is None or str(found) == said
