"""Where access comes from when no kubeconfig is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kube.test_config import kubeconfig
from towline.errors import ConfigError
from towline.kube.config import Pem, Tls, load_access


def service_account(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "token").write_text("pod-token")
    (directory / "ca.crt").write_text("pem")
    (directory / "namespace").write_text("team\n")
    return directory


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_a_pod_without_kubeconfig_uses_its_service_account(
    host: str, server: str, tmp_path: Path
) -> None:
    directory = service_account(tmp_path / "sa")
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": host}

    found = load_access(environ=environ, service_account=directory)

    assert (found.server, found.namespace, found.context) == (server, "team", "in-cluster")
    assert found.user.token_file == directory / "token"
    assert found.tls == Tls(ca=Pem(file=directory / "ca.crt"))


def test_a_kubeconfig_comes_before_the_service_account(tmp_path: Path) -> None:
    directory = service_account(tmp_path / "sa")
    environ = {
        "KUBECONFIG": str(kubeconfig(tmp_path)),
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    }

    assert load_access(environ=environ, service_account=directory).context == "dev"


def test_no_kubeconfig_at_all_names_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_access(environ={"HOME": str(tmp_path)}, service_account=tmp_path / "none")

    assert str(tmp_path / ".kube" / "config") in caught.value.summary
    assert "KUBECONFIG" in caught.value.hint


def test_what_is_read_again_is_of_the_same_context(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user={"token": "old"})
    found = load_access(kubeconfig_file=path, environ={})
    assert found.user_now() == found.user

    text = path.read_text().replace("token: old", "token: new")
    path.write_text(text.replace("current-context: dev", "current-context: another"))
    assert found.user_now().token == "new"

    path.write_text("{")
    assert found.user_now() == found.user
