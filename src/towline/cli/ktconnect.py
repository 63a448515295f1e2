"""How kt-connect spells what tow does: its options and commands at 0.3.7.

See https://github.com/alibaba/kt-connect/tree/master/docs/en-us/cli, and docs/from-kt-connect.md.
"""

from __future__ import annotations

from towline.cli.othertools import NOT_YET, Spelling, Tool

_NO_LOCAL_DNS = "Leave it out: the machine's own lookups are led to tow, on whatever port."
_NO_PROXY = "It needs no proxy: leave it out. 'tow proxy' is one."

_NO_AGENT = "Only commands that start an agent have it."


def _each(value: str) -> list[str]:
    """The parts of what kt-connect takes in one value."""
    return [part.strip() for part in value.split(",")]


def _quota(value: str) -> list[str]:
    """Processors with a `c`, memory with a `k`, `m` or `g`: `0.5c,512m`."""
    words: list[str] = []
    for part in _each(value.lower()):
        number, unit = part[:-1], part[-1:]
        if unit == "c":
            words += ["--cpu", number]
        else:
            words += ["--memory", f"{number}{unit.upper()}i" if unit in ("k", "m", "g") else part]
    return words


_EVERYWHERE = (
    Spelling("--debug", ("-v",), flag=True),
    Spelling("--imagePullSecret", ("--image-pull-secret", "{}"), _NO_AGENT),
    Spelling("--serviceAccount", ("--service-account", "{}"), _NO_AGENT),
    Spelling("--nodeSelector", ("--node-selector", "{}"), _NO_AGENT, parts=_each),
    Spelling("--withLabel", ("--label", "{}"), _NO_AGENT, parts=_each),
    Spelling("--withAnnotation", ("--annotation", "{}"), _NO_AGENT, parts=_each),
    Spelling("--podQuota", ("{}",), _NO_AGENT, parts=_quota),
    Spelling("--forceUpdate", ("--image-pull-policy", "Always"), _NO_AGENT, flag=True),
    Spelling("--podCreationTimeout", ("--timeout", "{}")),
    Spelling("--portForwardTimeout", advice="Leave it out: --timeout bounds the whole start."),
    Spelling("--useShadowDeployment", (), flag=True),
    Spelling("--useLocalTime", (), flag=True),
    Spelling("--asWorker", advice="Use 'tow connect --detach'.", flag=True),
    Spelling("--ipVersion", advice="Leave it out: both families work at once.", values=("4", "6")),
)

_CONNECT = (
    Spelling("--mode", (), "There is one way to connect: leave it out.", values=("tun2socks",)),
    Spelling("--dnsMode", (), "There is one way for names: leave it out.", values=("localDNS",)),
    Spelling("--shareShadow", advice=NOT_YET, flag=True),
    Spelling("--clusterDomain", ("--cluster-domain", "{}")),
    Spelling("--disablePodIp", ("--no-pods",), flag=True),
    Spelling("--skipCleanup", (), flag=True),
    Spelling("--includeIps", ("--include", "{}")),
    Spelling("--excludeIps", ("--exclude", "{}")),
    Spelling("--includeDomains", ("--domain", "{}")),
    Spelling("--ingressIp", advice=NOT_YET),
    Spelling("--disableTunDevice", advice=_NO_PROXY, flag=True),
    Spelling("--disableTunRoute", advice=_NO_PROXY, flag=True),
    Spelling("--proxyPort", advice=_NO_PROXY),
    Spelling("--proxyAddr", advice=_NO_PROXY),
    Spelling("--dnsCacheTtl", ("--dns-cache", "{}")),
    Spelling("--dnsPort", advice=_NO_LOCAL_DNS),
)

_LISTENING = Spelling("--skipPortChecking", (), flag=True)

TOOL = Tool(
    name="kt-connect",
    page="docs/from-kt-connect.md",
    options={
        "": _EVERYWHERE,
        "connect": _CONNECT,
        "exchange": (_LISTENING, Spelling("--recoverWaitTime", ("--timeout", "{}"))),
        "preview": (_LISTENING,),
        "mesh": (
            _LISTENING,
            Spelling("--mode", ("--mode", "router"), values=("auto",)),
            Spelling("--versionMark", ("--version-mark", "{}")),
            Spelling("--routerImage", ("--router-image", "{}")),
        ),
        "clean": (
            Spelling("--dryRun", ("--dry-run",), flag=True),
            Spelling("--thresholdInMinus", ("--older-than", "{}m")),
            Spelling("--localOnly", advice="Nothing of tow's stays on this machine.", flag=True),
        ),
        "config": (
            Spelling("--dryRun", advice="A profile is a file, which can be looked at.", flag=True),
        ),
        "birdseye": (
            Spelling("--sortBy", (), "Lines are in the order of names.", values=("name",)),
            Spelling("--showConnector", (), flag=True),
            Spelling("--hideNaturalService", advice="'tow list' shows no others.", flag=True),
        ),
    },
    below={("config", "list-profile"): "list-profiles"},
    commands={},
    moved=frozenset(
        {"-n", "--namespace", "-c", "--kubeconfig", "--context", "-i", "--image"},
    ),
    early={"-d": "--debug", "-l": "--withLabel", "-f": "--forceUpdate"},
)
