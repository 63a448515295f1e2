"""What towline reads out of kubeconfig files, compared with what kubectl says of the same files."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from towline.errors import ConfigError
from towline.kube import kubeconfig
from towline.kube.config import Access, Pem, load_access

if TYPE_CHECKING:
    from lab.cluster import Lab

pytestmark = pytest.mark.usefixtures("no_trace_of_module")

# Each example runs kubectl a few times, at about 60 ms each.
EXAMPLES = 40

# So few that most references lead somewhere, and some nowhere.
NAMES = st.sampled_from(["a", "with space", "2024-01-31"])
PATHS = st.sampled_from(["one.pem", "../shared/two.pem", "sub/three.pem", "{abs}/shared/two.pem"])
DATA = st.sampled_from([b"inline one", b"\x00\xff binary"]).map(
    lambda data: base64.b64encode(data).decode()
)
TEXTS = st.sampled_from(["t0ken", "p@ss: #word", "0123", "true", "ünï"])


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields."""
    return st.fixed_dictionaries({}, optional=known)


CLUSTERS = st.builds(
    lambda server, ca, rest: {"server": server, **ca, **rest},
    st.sampled_from(["https://k:6443", "https://r/k8s/clusters/c-1/", "http://[fd00::1]:8080"]),
    st.one_of(
        fields(**{"certificate-authority": PATHS}),
        fields(**{"certificate-authority-data": DATA}),
        fields(**{"insecure-skip-tls-verify": st.booleans()}),
    ),
    fields(**{"tls-server-name": TEXTS, "proxy-url": st.just("http://p:3128")}),
)
PLUGINS = st.fixed_dictionaries(
    {
        "apiVersion": st.sampled_from(
            ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]
        ),
        "command": st.sampled_from(["tool", "./tool", "../bin/tool", "/bin/tool"]),
        "interactiveMode": st.sampled_from(["Never", "IfAvailable", "Always"]),
    },
    optional={
        "args": st.lists(TEXTS),
        "env": st.lists(st.fixed_dictionaries({"name": st.just("A"), "value": TEXTS})),
        "provideClusterInfo": st.booleans(),
        "installHint": TEXTS,
    },
)
USERS = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.one_of(
        fields(token=TEXTS),
        st.fixed_dictionaries({"tokenFile": PATHS}),
        st.fixed_dictionaries({"username": TEXTS, "password": TEXTS}),
        st.fixed_dictionaries({"exec": PLUGINS}),
    ),
    st.one_of(
        st.just({}),
        st.fixed_dictionaries({"client-certificate": PATHS, "client-key": PATHS}),
        st.fixed_dictionaries({"client-certificate-data": DATA, "client-key-data": DATA}),
    ),
    st.one_of(
        st.just({}),
        st.fixed_dictionaries(
            {"as": TEXTS},
            optional={
                "as-uid": TEXTS,
                "as-groups": st.lists(TEXTS, min_size=1),
                "as-user-extra": st.dictionaries(
                    st.sampled_from(["k", "x/y"]), st.lists(TEXTS, min_size=1), min_size=1
                ),
            },
        ),
    ),
)
CONTEXTS = st.fixed_dictionaries(
    {"cluster": NAMES, "user": NAMES}, optional={"namespace": st.sampled_from(["dev", "ops"])}
)


def named(kind: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A list as kubeconfigs have it: entries with a name, at most one of each."""
    return st.dictionaries(NAMES, values, min_size=2, max_size=3).map(
        lambda entries: [{"name": name, kind: value} for name, value in entries.items()]
    )


FILES = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Config"),
        "clusters": named("cluster", CLUSTERS),
        "users": named("user", USERS),
        "contexts": named("context", CONTEXTS),
    },
    optional={"current-context": NAMES | st.just("")},
)


@pytest.fixture(scope="module")
def kubectl(lab: Lab) -> str:
    """The kubectl to compare with."""
    return str(lab.layout.programs / "kubectl")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all the files that the generated kubeconfigs name."""
    root = tmp_path_factory.mktemp("kubeconfigs")
    for number in range(3):
        directory = root / f"dir{number}"
        (directory / "sub").mkdir(parents=True)
        (directory / "one.pem").write_text(f"one of {number}")
        (directory / "sub" / "three.pem").write_text(f"three of {number}")
    (root / "shared").mkdir()
    (root / "shared" / "two.pem").write_text("two")
    return root


def write(place: Path, documents: list[dict[str, Any]]) -> dict[str, str]:
    """Write the files and give the environment that names them, with one that is missing."""
    paths = []
    for number, document in enumerate(documents):
        path = place / f"dir{number}" / "config"
        path.write_text(yaml.safe_dump(document).replace("{abs}", str(place)))
        paths.append(path)
    named_files = [*paths[:1], place / "missing", *paths[1:]]
    return {"HOME": str(place), "KUBECONFIG": os.pathsep.join(map(str, named_files))}


def view(kubectl: str, environ: dict[str, str], *arguments: str) -> dict[str, Any] | None:
    """What `kubectl config view` says; None when it says no."""
    result = subprocess.run(
        [kubectl, "config", "view", "--raw", "-o", "json", *arguments],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        timeout=30,
        check=False,
    )
    if result.returncode != 0:
        return None
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(documents=st.lists(FILES, min_size=1, max_size=3))
def test_merged_files_are_what_kubectl_makes_of_them(
    documents: list[dict[str, Any]], kubectl: str, place: Path
) -> None:
    environ = write(place, documents)

    said = view(kubectl, environ, "--merge")
    merged = kubeconfig.load(None, environ)

    assert said is not None
    assert merged.current_context == said["current-context"]
    for kind, own in (
        ("cluster", merged.clusters),
        ("user", merged.users),
        ("context", merged.contexts),
    ):
        theirs = {entry["name"]: entry[kind] for entry in said[f"{kind}s"] or []}
        assert {name: plain(entry.values) for name, entry in own.items()} == {
            name: plain(values) for name, values in theirs.items()
        }


def plain(values: Any) -> dict[str, Any]:
    """Fields that say something, and file paths left out: those are compared by content."""
    paths = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    known = {key: value for key, value in values.items() if value and key not in paths}
    if "exec" in known:
        inner = known["exec"]
        known["exec"] = {k: v for k, v in inner.items() if v and k != "command"}
    return known


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(documents=st.lists(FILES, min_size=1, max_size=3), context=NAMES | st.none())
def test_a_context_is_resolved_as_kubectl_does(
    documents: list[dict[str, Any]], context: str | None, kubectl: str, place: Path
) -> None:
    environ = write(place, documents)

    chosen = ("--context", context) if context else ()
    said = view(kubectl, environ, "--minify", "--flatten", *chosen)
    try:
        access = load_access(context=context, environ=environ)
    except ConfigError as error:
        assert said is None or not said["contexts"], error.summary  # noqa: PT017
        return

    assert said is not None
    assert access.context == said["current-context"]
    name = said["users"][0]["name"]
    origin = next(
        place / f"dir{number}"
        for number, document in enumerate(documents)
        if any(user["name"] == name for user in document["users"])
    )
    compare(access, said, origin)


def compare(access: Access, said: dict[str, Any], origin: Path) -> None:
    """Every field of the access with what kubectl says of the one context.

    `origin` is the directory of the file that the user is in.
    """
    cluster = said["clusters"][0]["cluster"]
    user = said["users"][0]["user"]
    assert access.namespace == said["contexts"][0]["context"].get("namespace", "default")
    assert access.server == cluster["server"].rstrip("/")
    assert access.proxy == cluster.get("proxy-url", "")
    assert access.tls.insecure == cluster.get("insecure-skip-tls-verify", False)
    assert access.tls.server_name == cluster.get("tls-server-name", "")
    assert content(access.tls.ca) == data(cluster, "certificate-authority-data")
    assert content(access.user.certificate) == data(user, "client-certificate-data")
    assert content(access.user.key) == data(user, "client-key-data")
    assert access.user.token == user.get("token", "")
    assert access.user.username == user.get("username", "")
    assert access.user.password == user.get("password", "")
    assert str(access.user.token_file or "") == absolute(user.get("tokenFile", ""), origin)
    compare_impersonation(access, user)
    compare_plugin(access, user.get("exec"), origin)


def absolute(path: str, origin: Path) -> str:
    """What a path means that --flatten leaves as it is written."""
    return os.path.abspath(origin / path) if path else ""


def compare_impersonation(access: Access, user: dict[str, Any]) -> None:
    wanted = access.user.impersonation
    assert (wanted.user if wanted else "") == user.get("as", "")
    if wanted:
        assert wanted.uid == user.get("as-uid", "")
        assert list(wanted.groups) == user.get("as-groups", [])
        assert {key: list(values) for key, values in wanted.extra} == user.get("as-user-extra", {})


def compare_plugin(access: Access, said: dict[str, Any] | None, origin: Path) -> None:
    plugin = access.user.exec
    assert (plugin is None) == (said is None)
    if plugin is None or said is None:
        return
    command = said["command"]
    assert plugin.command == (absolute(command, origin) if "/" in command else command)
    assert list(plugin.args) == (said["args"] or [])
    env = said["env"] or []
    assert list(plugin.env) == [(pair["name"], pair["value"]) for pair in env]
    assert plugin.api_version == said["apiVersion"]
    assert plugin.provide_cluster_info == said["provideClusterInfo"]
    assert plugin.interactive_mode == said["interactiveMode"]
    assert plugin.install_hint == said.get("installHint", "")


def content(pem: Pem | None) -> bytes:
    return pem.read() if pem else b""


def data(entry: dict[str, Any], key: str) -> bytes:
    return base64.b64decode(entry.get(key, ""))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "clusters: []",
        '{"apiVersion": "v1", "kind": "Config", "clusters": null}',
        "apiVersion: v2\nkind: Config",
        "kind: Pod\napiVersion: v1",
        "clusters: {}",
        "clusters: [{name: 3}]",
        "- a",
        "clusters: [",
        "current-context: 3",
        "current-context: yes",
        "current-context: 2024-01-31",
        "current-context: 1:30",
        "clusters: [{name: c, cluster: {certificate-authority-data: '-----BEGIN'}}]",
        "clusters: [{name: c, cluster: {insecure-skip-tls-verify: 'true'}}]",
        "clusters: [{name: c, cluster: {server: 3}}]",
        "clusters: [{name: c}, {name: c}]",
        "users: [{name: u, user: {as-groups: dev}}]",
        "unknown: field",
    ],
)
def test_what_kubectl_cannot_read_is_an_error_and_nothing_else_is(
    text: str, kubectl: str, tmp_path: Path
) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    environ = {"HOME": str(tmp_path), "KUBECONFIG": str(path)}
    said = view(kubectl, environ)

    try:
        merged = kubeconfig.load(None, environ)
        for entry in merged.clusters.values():
            entry.text("server")
            entry.data("certificate-authority-data")
            entry.flag("insecure-skip-tls-verify")
        for entry in merged.users.values():
            entry.texts("as-groups")
    except ConfigError as error:
        assert said is None, error.summary  # noqa: PT017
    else:
        assert said is not None
        assert merged.current_context == said["current-context"]
