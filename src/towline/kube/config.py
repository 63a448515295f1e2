"""Resolve kubeconfig, flags and environment into the :class:`Access` to one cluster.

The fields are documented at https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from towline.errors import ConfigError
from towline.kube import kubeconfig
from towline.kube.kubeconfig import Entry, Kubeconfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Where a pod finds its service account.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Pem:
    """Certificates or a key in PEM, given inline (`data`) or as a file, read when needed."""

    data: bytes = field(default=b"", repr=False)
    file: Path | None = None

    def read(self) -> bytes:
        """The content. Raises ConfigError when the file cannot be read."""
        if self.file is None:
            return self.data
        try:
            return self.file.read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"The file {self.file} that the kubeconfig names cannot be read: {why}",
                "Correct the path in the kubeconfig, or make the file anew by signing in again",
            ) from error


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server proves itself; without `ca` the system's certificates count."""

    ca: Pem | None = None
    insecure: bool = False
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Impersonation:
    """As whom the user wants to act: the Impersonate-* request headers."""

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that gives credentials; `command` is absolute or looked up in PATH."""

    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    api_version: str = "client.authentication.k8s.io/v1"
    provide_cluster_info: bool = False
    interactive_mode: str = "IfAvailable"
    install_hint: str = ""
    cluster_config: Any = None
    """The cluster's extension that is meant for the plugin."""


@dataclass(frozen=True, slots=True)
class User:
    """How the user proves to be who they are; `label` says where that is written."""

    label: str = ""
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    certificate: Pem | None = None
    key: Pem | None = None
    exec: ExecPlugin | None = None
    impersonation: Impersonation | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """All that is needed to speak to one cluster as one user.

    `server` is an http or https URL, possibly with a path prefix; `namespace` the one to use
    when none is named; `proxy` that of the kubeconfig, "" to go by the environment; `source`
    says in messages where this was read, and `reload` reads the same once more.
    """

    server: str
    namespace: str
    context: str
    source: str
    tls: Tls = Tls()
    user: User = User()
    proxy: str = field(default="", repr=False)
    reload: Callable[[], Access] | None = field(default=None, repr=False, compare=False)

    def user_now(self) -> User:
        """The user as the kubeconfig has it by now; the same if it cannot be read."""
        if self.reload is None:
            return self.user
        try:
            return self.reload().user
        except ConfigError:
            return self.user


def load_access(
    *,
    kubeconfig_file: str | Path | None = None,
    context: str | None = None,
    namespace: str | None = None,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> Access:
    """The access that --kubeconfig, --context and --namespace, or their defaults, mean.

    In a pod without any kubeconfig it is that of the pod's service account. Raises ConfigError.
    """
    config = kubeconfig.load(kubeconfig_file, environ)
    if config.files or context:
        found = resolve(config, context=context, namespace=namespace)

        def reload() -> Access:
            again = kubeconfig.load(kubeconfig_file, environ)
            # Another context may be the current one by now.
            return resolve(again, context=found.context, namespace=namespace)

        return replace(found, reload=reload)
    if "KUBERNETES_SERVICE_HOST" in environ and (service_account / "token").exists():
        return _in_cluster(service_account, environ, namespace)
    raise ConfigError(
        f"There is no kubeconfig: {config.label} is not there",
        "Name one with --kubeconfig or in KUBECONFIG; how you get one for your cluster is "
        "in its provider's or administrator's instructions",
    )


def resolve(
    config: Kubeconfig, *, context: str | None = None, namespace: str | None = None
) -> Access:
    """Pick one context, the current one by default, out of a merged kubeconfig."""
    chosen = _chosen_context(config, context)
    cluster = _referenced(config, chosen, "cluster", config.clusters)
    user = _referenced(config, chosen, "user", config.users)
    tls = _tls(cluster)
    who = _user(user, cluster)
    return Access(
        server=_server(cluster, secure=bool(tls.ca or tls.insecure or who.certificate)),
        namespace=_namespace(namespace or chosen.text("namespace"), chosen),
        context=chosen.name,
        source=str(chosen.file),
        tls=tls,
        user=who,
        proxy=_proxy(cluster),
    )


def _chosen_context(config: Kubeconfig, context: str | None) -> Entry:
    name = context or config.current_context
    if not name:
        raise ConfigError(
            f"No context is chosen in {config.label}",
            "Name one with --context, or choose one with: kubectl config use-context NAME. "
            + _choices(config.contexts, "contexts"),
        )
    if name not in config.contexts:
        origin = "" if context else ", which is the current one,"
        raise ConfigError(
            f'The context "{name}"{origin} is not in {config.label}',
            _nearest(name, config.contexts) + _choices(config.contexts, "contexts"),
        )
    return config.contexts[name]


def _referenced(
    config: Kubeconfig, context: Entry, kind: str, entries: Mapping[str, Entry]
) -> Entry:
    name = context.text(kind)
    if name in entries:
        return entries[name]
    if not name and kind == "user":
        return Entry("user", "", context.file, {})
    what = f'names the {kind} "{name}", which is not in {config.label}' if name else f"no {kind}"
    raise ConfigError(
        f"{context.label[0].upper()}{context.label[1:]} " + (what if name else f"names {what}"),
        _nearest(name, entries) + _choices(entries, f"{kind}s"),
    )


def _server(cluster: Entry, *, secure: bool) -> str:
    server = cluster.text("server")
    if not server:
        raise cluster.wrong("server", "is empty", "It must be the URL of the API server")
    if "://" not in server:
        server = f"{'https' if secure else 'http'}://{server}"
    try:
        parts = urlsplit(server)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise cluster.wrong("server", f'is not an http or https URL: "{server}"')
    return parts._replace(query="", fragment="").geturl().rstrip("/")


def _tls(cluster: Entry) -> Tls:
    ca = _pem(cluster, "certificate-authority")
    insecure = cluster.flag("insecure-skip-tls-verify")
    if ca and insecure:
        raise cluster.wrong(
            "insecure-skip-tls-verify",
            "is true although a certificate-authority is given",
            "Remove one of the two",
        )
    return Tls(ca=ca, insecure=insecure, server_name=cluster.text("tls-server-name"))


def _pem(entry: Entry, key: str) -> Pem | None:
    data = entry.data(f"{key}-data")
    path = entry.path(key)
    if data:
        return Pem(data=data)
    return Pem(file=path) if path else None


def _proxy(cluster: Entry) -> str:
    proxy = cluster.text("proxy-url")
    if proxy and urlsplit(proxy).scheme not in ("http", "https"):
        raise cluster.wrong(
            "proxy-url",
            "is not an http or https URL",
            "towline speaks to the API server through HTTP proxies only, not SOCKS",
        )
    return proxy


def _user(entry: Entry, cluster: Entry) -> User:
    provider = entry.section("auth-provider")
    if provider:
        raise ConfigError(
            f"{entry.label[0].upper()}{entry.label[1:]} signs in with the auth-provider "
            f'"{provider.text("name")}", which Kubernetes has removed',
            "Make the kubeconfig anew with your provider's current tool, which uses an exec "
            "plugin instead",
        )
    user = User(
        label=entry.label,
        token=entry.text("token").strip(),
        token_file=entry.path("tokenFile"),
        username=entry.text("username"),
        password=entry.text("password"),
        certificate=_pem(entry, "client-certificate"),
        key=_pem(entry, "client-key"),
        exec=_exec(entry, cluster),
        impersonation=_impersonation(entry),
    )
    if (user.token or user.token_file) and (user.username or user.password):
        raise entry.wrong("token", "is given beside a username and password", "Remove one")
    if user.certificate and not user.key:
        raise entry.wrong("client-key", "is missing, but there is a client-certificate")
    return user


def _impersonation(entry: Entry) -> Impersonation | None:
    extra = entry.section("as-user-extra")
    extras = tuple((key, extra.texts(key)) for key in extra.values) if extra else ()
    wanted = Impersonation(
        user=entry.text("as"),
        uid=entry.text("as-uid"),
        groups=entry.texts("as-groups"),
        extra=extras,
    )
    if wanted.user:
        return wanted
    if wanted.uid or wanted.groups or wanted.extra:
        raise entry.wrong("as", "is missing, but other as-… fields are given")
    return None


def _exec(entry: Entry, cluster: Entry) -> ExecPlugin | None:
    plugin = entry.section("exec")
    if plugin is None:
        return None
    command = plugin.text("command")
    if not command:
        raise plugin.wrong("exec.command", "is empty")
    if os.sep in command:
        command = str(plugin.path("command"))
    api_version = plugin.text("apiVersion")
    mode = plugin.text("interactiveMode")
    if api_version not in _EXEC_VERSIONS:
        raise plugin.wrong(
            "exec.apiVersion",
            f'is "{api_version}"; known are {" and ".join(_EXEC_VERSIONS)}',
            "Make the kubeconfig anew with your provider's current tool",
        )
    if not mode and api_version.endswith("/v1beta1"):
        mode = "IfAvailable"
    if mode not in ("Never", "IfAvailable", "Always"):
        raise plugin.wrong("exec.interactiveMode", "is not one of Never, IfAvailable, Always")
    return ExecPlugin(
        command=command,
        args=plugin.texts("args"),
        env=tuple(_variable(pair) for pair in plugin.sections("env")),
        api_version=api_version,
        provide_cluster_info=plugin.flag("provideClusterInfo"),
        interactive_mode=mode,
        install_hint=_printable(plugin.text("installHint")),
        cluster_config=_plugin_extension(cluster),
    )


def _variable(pair: Entry) -> tuple[str, str]:
    name = pair.text("name")
    if not name or "=" in name:
        raise pair.wrong("exec.env", f'has a variable that cannot be named "{name}"')
    return name, pair.text("value")


_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


def _plugin_extension(cluster: Entry) -> Any:
    for extension in cluster.sections("extensions"):
        if extension.text("name") == "client.authentication.k8s.io/exec":
            return extension.values.get("extension")
    return None


def _in_cluster(directory: Path, environ: Mapping[str, str], namespace: str | None) -> Access:
    host = environ["KUBERNETES_SERVICE_HOST"]
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    own = directory / "namespace"
    default = own.read_text().strip() if own.exists() else ""
    here = Entry("context", "in-cluster", directory, {})
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=_namespace(namespace or environ.get("POD_NAMESPACE") or default, here),
        context=here.name,
        source=str(directory),
        tls=Tls(ca=Pem(file=directory / "ca.crt")),
        user=User(label=f"the service account in {directory}", token_file=directory / "token"),
    )


_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def _namespace(name: str, context: Entry) -> str:
    if name and not _DNS_LABEL.fullmatch(name):
        raise ConfigError(
            f'"{name}" cannot be a namespace: its name has lower-case letters, digits and "-"',
            f"Check --namespace, or the namespace of {context.label}",
        )
    return name or "default"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'Did you mean "{near[0]}"? ' if near else ""


def _choices(known: Iterable[str], what: str) -> str:
    names = sorted(known)
    if not names:
        return f"It has no {what} at all"
    shown = ", ".join(names[:_CHOICES_SHOWN])
    more = f" and {len(names) - _CHOICES_SHOWN} more" if len(names) > _CHOICES_SHOWN else ""
    return f"Its {what} are: {shown}{more}"


_CHOICES_SHOWN = 20


def _printable(text: str) -> str:
    """Without the control characters that could upset a terminal."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")
