"""What there is in a namespace in which Istio demands mutual TLS, and who answers there."""

from __future__ import annotations

import json
from typing import Any

from lab.cluster import Lab
from lab.errors import LabError
from tests.e2e.waiting import until

NAMESPACE = "e2e-istio"
# Every sidecar hears of a change within a second or so, on a busy machine later.
HEARD_SECONDS = 20.0
_ASK = """\
import sys, urllib.request
host, *headers = sys.argv[1:]
request = urllib.request.Request(f"http://{host}/", headers=dict(h.split(":") for h in headers))
print(urllib.request.urlopen(request, timeout=5).read().decode())
"""


class Meshed:
    """The namespace of a lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def answerer(self, host: str, *headers: str) -> str:
        """Who answers the client's request: a program's name; "" for nobody."""
        asking = ("client", "-c", "client", "--", "python3", "-c", _ASK, host, *headers)
        try:
            return str(json.loads(self._lab.kubectl("exec", "-n", NAMESPACE, *asking))["name"])
        except LabError:
            return ""

    def await_answerer(self, wanted: str, host: str, *headers: str) -> None:
        """Wait until that one answers, and then goes on to."""
        until(lambda: self.answerer(host, *headers) == wanted, HEARD_SECONDS, f"{wanted} at {host}")
        assert [self.answerer(host, *headers) for _ in range(3)] == [wanted] * 3

    def pods(self, labels: str) -> list[Any]:
        """The pods with these labels."""
        found: list[Any] = self._lab.kubectl_json("pods", "-n", NAMESPACE, "-l", labels)["items"]
        return found
