"""What a port of a service speaks, as its ServicePort says.

First `appProtocol`, then the name, by the convention of Istio: `http`, or `http-` and more. Where
neither says anything, the router looks at the first bytes of each connection.

https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol
https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Speaks(enum.StrEnum):
    """What the router does with a port."""

    HTTP = "http"
    #: HTTP over TLS: the router must have the service's certificate.
    TLS = "tls"
    #: What begins as HTTP is routed; all else passes untouched.
    LOOK = "look"
    #: Not the router's: the agent passes it on.
    OTHER = "other"


class ToldBy(enum.StrEnum):
    """From where one knows."""

    APP_PROTOCOL = "appProtocol"
    NAME = "name"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Told:
    """What a port speaks, by what one knows, and the word that says so."""

    speaks: Speaks
    by: ToldBy
    word: str = ""

    def __str__(self) -> str:
        if self.by is ToldBy.BYTES:
            return "HTTP if the first bytes are"
        names = {Speaks.HTTP: "HTTP", Speaks.TLS: "HTTP over TLS"}
        return f"{names.get(self.speaks, 'not HTTP')} ({self.by} {self.word})"


_HTTP = {"http", "http2", "h2c", "grpc", "grpc-web", "ws"}
_TLS = {"https", "wss", "tls", "grpcs"}
_OTHER = {"tcp", "udp", "mongo", "mysql", "redis", "postgres", "postgresql", "amqp", "kafka"}
# RFC 6335 service names, and those of https://kubernetes.io/docs/reference/networking/.
_PREFIX = "kubernetes.io/"


def told(port: Mapping[str, Any]) -> Told:
    """What a TCP port speaks, by its ServicePort (`appProtocol` and `name`)."""
    if app := str(port.get("appProtocol") or ""):
        word = app.lower().removeprefix(_PREFIX)
        # Whatever else an appProtocol is, it is one that is not HTTP.
        return Told(_speaks(word) or Speaks.OTHER, ToldBy.APP_PROTOCOL, app)
    name = str(port.get("name") or "")
    if speaks := _speaks(name.lower()) or _speaks(name.lower().partition("-")[0]):
        return Told(speaks, ToldBy.NAME, name)
    return Told(Speaks.LOOK, ToldBy.BYTES)


def _speaks(word: str) -> Speaks | None:
    if word in _HTTP:
        return Speaks.HTTP
    if word in _TLS:
        return Speaks.TLS
    return Speaks.OTHER if word in _OTHER else None
