"""How Telepresence calls what tow does: the commands and options of its 2.x.

See https://telepresence.io/docs/reference/cli/telepresence, and docs/from-telepresence.md.
"""

from __future__ import annotations

from towline.cli.othertools import NOT_YET, Spelling, Tool

_NOTHING_INSTALLED = "Nothing is installed in the cluster, so there is nothing to do."
_NO_DOCKER = f"{NOT_YET} Sessions run on the machine itself."
_VIEW = "'tow connect' sees what a pod sees; conflicts are told by 'tow check'."

TOOL = Tool(
    name="Telepresence",
    page="docs/from-telepresence.md",
    options={
        "connect": (
            Spelling("--also-proxy", ("--include", "{}")),
            Spelling("--never-proxy", ("--exclude", "{}")),
            Spelling("--mapped-namespaces", advice="Leave it out: names of all namespaces work."),
            Spelling("--manager-namespace", advice=_NOTHING_INSTALLED),
            Spelling("--name", advice="Leave it out: sessions are known by their process ids."),
            Spelling("--allow-conflicting-subnets", advice=_VIEW),
            Spelling("--proxy-via", advice=NOT_YET),
            Spelling("--vnat", advice=NOT_YET),
            Spelling("--reroute-local", advice=NOT_YET),
            Spelling("--reroute-remote", advice=NOT_YET),
            Spelling("--docker", advice=_NO_DOCKER, flag=True),
            Spelling("--hostname", advice=_NO_DOCKER),
            Spelling("--expose", advice=_NO_DOCKER),
        ),
        "list": (
            Spelling("--intercepts", advice="Leave it out: all is listed.", flag=True),
            Spelling("--agents", advice="Leave it out: all is listed.", flag=True),
            Spelling("--watch", advice=NOT_YET, flag=True),
        ),
        "status": (
            Spelling("--json", ("--output", "json"), flag=True),
            Spelling("--multi-daemon", (), flag=True),
        ),
    },
    below={("config", "view"): "show"},
    commands={
        "intercept": "'tow exchange NAME --expose LOCAL:REMOTE' takes all requests of a service, "
        "'tow mesh NAME --match header:KEY=VALUE' those that have a header, or more.",
        "replace": "'tow exchange deploy/NAME --mode scale' answers while the pods do not run.",
        "wiretap": "'tow mirror NAME --expose LOCAL:REMOTE' sends a copy of the requests.",
        "ingest": f"{NOT_YET} (A container's environment and files.)",
        "leave": "Ctrl-C ends a session where it runs; 'tow disconnect PID' from elsewhere.",
        "quit": "'tow disconnect' ends a session, 'tow disconnect --all' every one of yours.",
        "uninstall": f"{_NOTHING_INSTALLED} 'tow clean' removes what broken sessions have left.",
        "helm": _NOTHING_INSTALLED,
        "genyaml": _NOTHING_INSTALLED,
        "setup": _NOTHING_INSTALLED,
        "gather-logs": "'tow -vv COMMAND' logs to stderr; 'kubectl logs' has what the agent says.",
        "gather-traces": "'tow -vv COMMAND' logs to stderr.",
        "upload-traces": "'tow -vv COMMAND' logs to stderr.",
        "loglevel": "'tow -v COMMAND' logs what is done, 'tow -vv COMMAND' in detail.",
        "version": "'tow --version'.",
        "test-vpn": "'tow check' tells what would not work here.",
        "doctor": "'tow check' tells what would not work here.",
        "list-contexts": "'kubectl config get-contexts'; 'tow completion' knows them.",
        "list-namespaces": "'kubectl get namespaces'; 'tow completion' knows them.",
        "current-cluster-id": "'tow status' names the context of each session.",
        "revoke": "'tow exchange --force' takes over; 'tow recover NAME' puts a service right.",
        "apply": "'tow up' does what one file says: connect, exchanges and more, together.",
        "delete": "Ctrl-C ends 'tow up', and all that it has brought up.",
        "compose": _NO_DOCKER,
        "docker-run": _NO_DOCKER,
        "curl": "'tow connect' is for every program of this machine: use curl itself.",
        "serve": "'tow connect', and the browser of this machine at the service's name.",
        "mcp": NOT_YET,
    },
)
