from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towline.errors import ConfigError
from towline.kube.config import (
    Access,
    ExecPlugin,
    Impersonation,
    Pem,
    Tls,
    load_access,
    resolve,
)
from towline.kube.kubeconfig import Entry, Kubeconfig


def kubeconfig(directory: Path, **parts: Any) -> Path:
    """A file with one context `dev`, whose cluster and user have the fields given."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": parts.get("current", "dev"),
        "clusters": [
            {"name": "c", "cluster": {"server": "https://c:6443", **parts.get("cluster", {})}}
        ],
        "users": [{"name": "u", "user": parts.get("user", {})}],
        "contexts": [
            {
                "name": "dev",
                "context": {"cluster": "c", "user": "u", **parts.get("context", {})},
            }
        ],
    }
    path = directory / "config"
    path.write_text(yaml.safe_dump(document))
    return path


def access(directory: Path, **parts: Any) -> Access:
    return load_access(kubeconfig_file=kubeconfig(directory, **parts), environ={})


def test_the_current_context_is_used(tmp_path: Path) -> None:
    found = access(tmp_path, user={"token": "t"}, context={"namespace": "team"})

    assert (found.server, found.namespace, found.context) == ("https://c:6443", "team", "dev")
    assert found.user.token == "t"
    assert found.source == str(tmp_path / "config")


def test_namespace_is_default_when_none_is_named(tmp_path: Path) -> None:
    assert access(tmp_path).namespace == "default"


def test_a_given_namespace_comes_before_that_of_the_context(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, context={"namespace": "team"})

    assert load_access(kubeconfig_file=path, namespace="other", environ={}).namespace == "other"


@pytest.mark.parametrize("name", ["a/b", "..", "Upper", "-a", "a" * 64, "a\n"])
def test_what_cannot_be_a_namespace_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be a namespace"):
        load_access(kubeconfig_file=kubeconfig(tmp_path), namespace=name, environ={})


def test_an_unknown_context_says_which_there_are_and_the_nearest(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path)

    with pytest.raises(ConfigError) as caught:
        load_access(kubeconfig_file=path, context="dve", environ={})

    assert caught.value.summary == f'The context "dve" is not in {path}'
    assert caught.value.hint == 'Did you mean "dev"? Its contexts are: dev'
    assert caught.value.exit_code == 3


def test_a_current_context_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"gone", which is the current one, is not in'):
        access(tmp_path, current="gone")


def test_no_current_context_says_how_to_choose_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No context is chosen") as caught:
        access(tmp_path, current="")

    assert "--context" in caught.value.hint
    assert "dev" in caught.value.hint


@pytest.mark.parametrize("kind", ["cluster", "user"])
def test_a_context_that_names_what_is_not_there_is_an_error(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        access(tmp_path, context={kind: "nope"})

    assert caught.value.summary.startswith(f'The context "dev" in {tmp_path / "config"} names')
    assert f'the {kind} "nope", which is not in' in caught.value.summary


def test_a_context_without_a_cluster_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no cluster"):
        access(tmp_path, context={"cluster": ""})


def test_a_context_without_a_user_has_no_credentials(tmp_path: Path) -> None:
    assert access(tmp_path, context={"user": ""}).user.token == ""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://c:6443/", "https://c:6443"),
        ("https://r.example/k8s/clusters/c-1/", "https://r.example/k8s/clusters/c-1"),
        ("https://c?x=1#y", "https://c"),
        ("https://[fd00::1]:6443", "https://[fd00::1]:6443"),
        ("c:6443", "http://c:6443"),
    ],
)
def test_the_server_keeps_its_prefix_only(written: str, meant: str, tmp_path: Path) -> None:
    assert access(tmp_path, cluster={"server": written}).server == meant


def test_a_server_without_scheme_is_https_when_there_is_tls(tmp_path: Path) -> None:
    cluster = {"server": "c:6443", "insecure-skip-tls-verify": True}

    assert access(tmp_path, cluster=cluster).server == "https://c:6443"


@pytest.mark.parametrize("server", ["", "ftp://c", "https://", "https://c:99999", "https://[::"])
def test_what_cannot_be_a_server_is_an_error(server: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'server of the cluster "c"'):
        access(tmp_path, cluster={"server": server})


def test_inline_data_comes_before_files(tmp_path: Path) -> None:
    inline = base64.b64encode(b"inline").decode()
    cluster = {"certificate-authority": "ca.pem", "certificate-authority-data": inline}
    user = {
        "client-certificate": "me.crt",
        "client-certificate-data": inline,
        "client-key": "me.key",
    }

    found = access(tmp_path, cluster=cluster, user=user)

    assert found.tls == Tls(ca=Pem(data=b"inline"))
    assert found.user.certificate == Pem(data=b"inline")
    assert found.user.key == Pem(file=tmp_path / "me.key")


def test_tls_fields_are_taken_over(tmp_path: Path) -> None:
    cluster = {"insecure-skip-tls-verify": True, "tls-server-name": "kube"}

    assert access(tmp_path, cluster=cluster).tls == Tls(insecure=True, server_name="kube")


def test_insecure_beside_an_authority_is_an_error(tmp_path: Path) -> None:
    cluster = {"insecure-skip-tls-verify": True, "certificate-authority": "ca.pem"}

    with pytest.raises(ConfigError, match="although a certificate-authority is given"):
        access(tmp_path, cluster=cluster)


def test_a_certificate_without_key_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"client-key of .* is missing"):
        access(tmp_path, user={"client-certificate": "me.crt"})


def test_a_token_beside_a_password_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="beside a username"):
        access(tmp_path, user={"token": "t", "username": "me", "password": "p"})


def test_a_missing_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    found = access(tmp_path, cluster={"certificate-authority": "ca.pem"})

    assert found.tls.ca is not None
    with pytest.raises(ConfigError, match=f"{tmp_path / 'ca.pem'} .*cannot be read: No such file"):
        found.tls.ca.read()


def test_an_http_proxy_is_taken_over(tmp_path: Path) -> None:
    found = access(tmp_path, cluster={"proxy-url": "http://me:pw@proxy:3128"})

    assert found.proxy == "http://me:pw@proxy:3128"
    assert "pw" not in repr(found)


def test_a_socks_proxy_is_an_error_that_shows_no_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="proxy-url") as caught:
        access(tmp_path, cluster={"proxy-url": "socks5://me:pw@proxy:1080"})

    assert "SOCKS" in caught.value.hint
    assert "pw" not in str(caught.value)


def test_an_auth_provider_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='auth-provider "gcp"') as caught:
        access(tmp_path, user={"auth-provider": {"name": "gcp", "config": {}}})

    assert "exec plugin" in caught.value.hint


def test_impersonation_is_taken_over(tmp_path: Path) -> None:
    user = {
        "as": "jane",
        "as-uid": "u-1",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"team": ["red", "blue"]},
    }

    assert access(tmp_path, user=user).user.impersonation == Impersonation(
        "jane", "u-1", ("dev", "ops"), (("team", ("red", "blue")),)
    )


def test_impersonating_groups_of_nobody_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="field as of"):
        access(tmp_path, user={"as-groups": ["dev"]})


def plugin(**fields: Any) -> dict[str, Any]:
    known = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "get-token",
        "interactiveMode": "Never",
    }
    return {"exec": {**known, **fields}}


def test_an_exec_plugin_is_taken_over(tmp_path: Path) -> None:
    user = plugin(
        args=["--cluster", "c"],
        env=[{"name": "A", "value": "1"}],
        provideClusterInfo=True,
        installHint="brew install \x1b[31mthing",
    )
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    cluster = {"extensions": [{"name": "other", "extension": 1}, extension]}

    assert access(tmp_path, user=user, cluster=cluster).user.exec == ExecPlugin(
        command="get-token",
        args=("--cluster", "c"),
        env=(("A", "1"),),
        provide_cluster_info=True,
        interactive_mode="Never",
        install_hint="brew install [31mthing",
        cluster_config={"audience": "x"},
    )


@pytest.mark.parametrize(
    ("command", "meant"),
    [("tool", "tool"), ("./tool", "{dir}/tool"), ("../x/tool", "{up}/x/tool"), ("/a/t", "/a/t")],
)
def test_a_plugin_with_a_path_is_relative_to_the_kubeconfig(
    command: str, meant: str, tmp_path: Path
) -> None:
    found = access(tmp_path, user=plugin(command=command)).user.exec

    assert found is not None
    assert found.command == meant.format(dir=tmp_path, up=tmp_path.parent)


def test_a_v1beta1_plugin_needs_no_interactive_mode(tmp_path: Path) -> None:
    user = plugin(apiVersion="client.authentication.k8s.io/v1beta1", interactiveMode=None)

    found = access(tmp_path, user=user).user.exec

    assert found is not None
    assert found.interactive_mode == "IfAvailable"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"command": ""}, "exec.command"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "exec.apiVersion"),
        ({"interactiveMode": None}, "exec.interactiveMode"),
        ({"interactiveMode": "Sometimes"}, "exec.interactiveMode"),
        ({"env": [{"value": "1"}]}, "exec.env"),
        ({"env": [{"name": "A=B", "value": "1"}]}, "exec.env"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_an_error_that_names_the_field(
    fields: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f'field {field} of the user "u"'):
        access(tmp_path, user=plugin(**fields))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["https://k", "aGk="]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
_EXEC = st.dictionaries(
    st.sampled_from(["apiVersion", "command", "args", "env", "interactiveMode", "installHint"]),
    _JSON | st.sampled_from(["client.authentication.k8s.io/v1", "Never"]),
)
_CLUSTER_FIELDS = st.sampled_from(
    [
        "server",
        "certificate-authority",
        "certificate-authority-data",
        "insecure-skip-tls-verify",
        "tls-server-name",
        "proxy-url",
        "extensions",
    ]
)
_USER_FIELDS = st.sampled_from(
    [
        "token",
        "tokenFile",
        "username",
        "client-certificate",
        "client-certificate-data",
        "client-key-data",
        "auth-provider",
        "exec",
        "as",
        "as-groups",
        "as-user-extra",
    ]
)


@given(
    cluster=st.dictionaries(_CLUSTER_FIELDS, _JSON),
    user=st.dictionaries(_USER_FIELDS, _JSON | _EXEC),
    namespace=_JSON,
)
def test_any_fields_give_access_or_a_config_error(
    cluster: dict[str, Any], user: dict[str, Any], namespace: Any
) -> None:
    path = Path("/dir/config")
    config = Kubeconfig(
        files=(path,),
        clusters={"c": Entry("cluster", "c", path, {"server": "https://k", **cluster})},
        users={"u": Entry("user", "u", path, user)},
        contexts={
            "x": Entry("context", "x", path, {"cluster": "c", "user": "u", "namespace": namespace})
        },
        current_context="x",
    )
    try:
        found = resolve(config)
    except ConfigError as error:
        assert error.summary  # noqa: PT017
        return
    assert found.server.startswith(("http://", "https://"))
    assert found.namespace
