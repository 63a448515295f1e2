"""Which pods have a sidecar of Istio, and what an agent's pod has from them."""

from __future__ import annotations

from typing import Any

import pytest

from towline.cluster.sidecar import Sidecar

APP, PROXY = {"name": "app"}, {"name": "istio-proxy"}


def pod(
    labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"containers": [APP], **spec},
    }


@pytest.mark.parametrize(
    "injected",
    [
        pod(containers=[APP, PROXY]),
        pod(initContainers=[PROXY]),
        pod(labels={"sidecar.istio.io/inject": "true"}),
        pod(annotations={"sidecar.istio.io/inject": "true"}),
    ],
)
def test_pod_that_has_a_sidecar_or_asks_for_one_is_followed(injected: dict[str, Any]) -> None:
    sidecar = Sidecar.like(injected)
    assert sidecar is not None
    assert sidecar.labels == {"sidecar.istio.io/inject": "true"}
    assert sidecar.annotations == {}


def test_pod_without_a_sidecar_is_followed_too() -> None:
    assert Sidecar.like(pod(labels={"sidecar.istio.io/inject": "false"})) is None
    assert Sidecar.like(pod()) is None


def test_revision_and_settings_are_passed_on_but_not_what_was_done() -> None:
    settings = {
        "proxy.istio.io/config": "concurrency: 1",
        "sidecar.istio.io/nativeSidecar": "false",
        "traffic.sidecar.istio.io/excludeOutboundPorts": "9000",
    }
    done = {"sidecar.istio.io/status": "{}", "istio.io/rev": "canary", "team": "shop"}
    labels = {"app": "web", "istio.io/rev": "canary"}
    sidecar = Sidecar.like(pod(labels, {**settings, **done}, initContainers=[PROXY]))
    assert sidecar is not None
    assert sidecar.labels == {"sidecar.istio.io/inject": "true", "istio.io/rev": "canary"}
    assert sidecar.annotations == settings
