"""What stands in the way is told so that a newcomer understands it, and nothing is left."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab import network
from lab.users import CONNECT_RULES
from tests.e2e import objects
from tests.e2e.laptop import NOBODY
from tests.e2e.tow import GRACE, connected

CONFIG, API, ACCESS, AGENT = 3, 4, 5, 6

NO_PODS, NO_JOBS = "e2e-no-pods", "e2e-no-jobs"


SUDO = [Path(folder, "sudo") for folder in ("/usr/bin", "/bin", "/usr/local/bin")]


@dataclass(frozen=True)
class Refusal:
    """How a command ended that could not do what it should."""

    code: int
    summary: str
    hint: str
    seconds: float


@pytest.fixture(scope="module", autouse=True)
def cluster(lab):
    """Namespaces whose quotas are full, and users without rights."""
    with (
        objects.namespace(lab, NO_PODS, objects.quota(NO_PODS, "pods")),
        objects.namespace(lab, NO_JOBS, objects.quota(NO_JOBS, "count/jobs.batch")),
        objects.user(lab, "nobody-much", []),
        objects.user(lab, "no-forwarding", without(CONNECT_RULES, "pods/portforward")),
    ):
        yield


@pytest.fixture(autouse=True)
def trace(cluster, no_trace):
    return no_trace


def without(rules, resource):
    return [rule for rule in rules if resource not in rule["resources"]]


def refused(laptop, *arguments, **environment):
    """Run `tow connect` until it gives up, as a user sees it."""
    began = time.monotonic()
    done = laptop.run(
        laptop.tow, "connect", GRACE, *arguments, env=laptop.environment(**environment), seconds=90
    )
    seconds = time.monotonic() - began
    assert done.stdout == "", "what is no result does not go to standard output"
    assert "Traceback" not in done.stderr
    assert "Internal error" not in done.stderr
    assert "\x1b" not in done.stderr
    told = re.search(r"(?ms)^error: (.+?)\n(?:hint:  (.+))?\Z", done.stderr)
    assert told, done.stderr
    assert done.returncode != 0
    return Refusal(done.returncode, told[1], (told[2] or "").strip(), seconds)


def assert_told(refusal, code, summary, hint):
    """The exit code is right; summary and hint have these in them (regular expressions)."""
    assert refusal.code == code, refusal
    assert re.search(summary, refusal.summary), refusal
    assert re.search(hint, refusal.hint), refusal


def test_no_root_and_no_sudo(laptop, installed):
    covers = tuple((path, Path("/dev/null")) for path in SUDO if path.exists())
    user = replace(laptop, account=NOBODY, covers=covers, tow=installed)
    assert_told(refused(user), ACCESS, r"needs root.*no sudo", r"Install sudo|as root")


@pytest.mark.skipif(not any(path.exists() for path in SUDO), reason="this machine has no sudo")
def test_sudo_that_does_not_let_this_user(laptop, installed):
    user = replace(laptop, account=NOBODY, tow=installed)
    assert_told(refused(user), ACCESS, r"could not be started as root", r"sudo -v|sudoers|as root")


def test_no_right_to_create_jobs(lab, laptop):
    file = laptop.input("nobody-much", lab.kubeconfig("nobody-much").read_text())
    refusal = refused(laptop, "-c", str(file))
    assert_told(refusal, ACCESS, r"nobody-much may not create jobs", r"rights|Role|-n")


def test_no_right_to_forward_ports(lab, laptop):
    file = laptop.input("no-forwarding", lab.kubeconfig("no-forwarding").read_text())
    refusal = refused(laptop, "-c", str(file))
    assert_told(refusal, ACCESS, r"portforward", r"rights|Role|-n")


def test_context_that_is_not_there(laptop):
    assert_told(refused(laptop, "--context", "prod"), CONFIG, r"prod", r"lab")


def test_namespace_that_is_not_there(laptop):
    assert_told(refused(laptop, "-n", "nosuch"), API, r"nosuch", r"-n|namespace")


def test_kubeconfig_that_is_not_there(laptop):
    assert_told(refused(laptop, "-c", "/nonexistent/config"), CONFIG, r"/nonexistent/config", r".")
    assert_told(refused(laptop, KUBECONFIG="/nonexistent/config"), CONFIG, r"/nonexistent", r".")


def test_kubeconfig_that_is_broken(laptop):
    file = laptop.input("broken", "clusters: [\n")
    assert_told(refused(laptop, "-c", str(file)), CONFIG, re.escape(str(file)), r".")


def with_token(laptop, token):
    def change(config):
        config["users"][0]["user"] = {"token": token}

    return str(laptop.kubeconfig_with("token", change))


def test_token_that_is_wrong(laptop):
    refusal = refused(laptop, "-c", with_token(laptop, "not-a-token"))
    assert_told(refusal, API, r"not accept the credentials", r"Sign in")


def test_token_that_has_expired(lab, laptop):
    refusal = refused(laptop, "-c", with_token(laptop, expired_token(lab)))
    assert_told(refusal, API, r"not accept the credentials.*expired", r"Sign in")


def expired_token(lab):
    """A service account's token that was good until an hour ago (RFC 7519, RS256)."""
    account = lab.kubectl_json("serviceaccount", "default", "-n", "default")["metadata"]
    now = int(time.time())
    claims = {
        "iss": "https://kubernetes.default.svc",
        "aud": ["https://kubernetes.default.svc"],
        "iat": now - 7200,
        "nbf": now - 7200,
        "exp": now - 3600,
        "sub": "system:serviceaccount:default:default",
        "kubernetes.io": {
            "namespace": "default",
            "serviceaccount": {"name": "default", "uid": account["uid"]},
        },
    }
    signed = b".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256"}, claims))
    signer = ["openssl", "dgst", "-sha256", "-sign", str(lab.layout.pki / "sa.key")]
    signature = subprocess.run(signer, input=signed, capture_output=True, check=True).stdout
    return (signed + b"." + encoded(signature)).decode()


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def test_credential_plugin_that_fails(laptop):
    def change(config):
        plugin = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "/bin/false",
            "interactiveMode": "Never",
        }
        config["users"][0]["user"] = {"exec": plugin}

    refusal = refused(laptop, "-c", str(laptop.kubeconfig_with("plugin", change)))
    assert_told(refusal, CONFIG, r"/bin/false", r".")


def with_server(laptop, server):
    def change(config):
        config["clusters"][0]["cluster"]["server"] = server

    return str(laptop.kubeconfig_with("server", change))


def test_api_server_that_refuses(laptop):
    refusal = refused(laptop, "-c", with_server(laptop, f"https://{network.LAPTOP_V4}:1"))
    assert_told(refusal, API, re.escape(network.LAPTOP_V4), r".")
    assert refusal.seconds < 30


def test_api_server_that_cannot_be_found(laptop):
    refusal = refused(laptop, "-c", with_server(laptop, "https://nosuch.example:6443"))
    assert_told(refusal, API, r"nosuch\.example", r".")
    assert refusal.seconds < 30


def test_api_server_whose_certificate_is_of_somebody_else(laptop):
    def change(config):
        cluster = config["clusters"][0]["cluster"]
        del cluster["certificate-authority-data"]

    refusal = refused(laptop, "-c", str(laptop.kubeconfig_with("stranger", change)))
    assert_told(refusal, API, r"certificate", r"certificate-authority|insecure|trust")


def test_image_that_cannot_be_pulled(laptop):
    image = "localhost/towline/nosuch:1"
    refusal = refused(laptop, "--image", image)
    assert_told(refusal, AGENT, rf"{re.escape(image)}.*cannot be pulled", r"--image")
    assert refusal.seconds < 60


def test_image_that_is_no_name(laptop):
    assert_told(refused(laptop, "--image", "No Image"), AGENT, r"No Image", r"--image")


def test_image_without_python(laptop):
    refusal = refused(laptop, "--image", "localhost/towline/coredns:1")
    assert_told(refusal, AGENT, r"python3", r"--image")


def test_quota_of_pods_that_is_full(laptop):
    refusal = refused(laptop, "-n", NO_PODS)
    assert_told(refusal, ACCESS, r"quota.*pods", r"-n")
    assert refusal.seconds < 30


def test_quota_of_jobs_that_is_full(laptop):
    assert_told(refused(laptop, "-n", NO_JOBS), ACCESS, r"quota", r"-n|quota")


def test_agent_that_does_not_start_in_time(laptop):
    """Its pod fits on no node."""
    refusal = refused(laptop, "-n", NO_PODS, "--timeout", "1")
    assert_told(refusal, AGENT, r"not started within 1 s.*waiting for", r"--timeout")


def test_namespace_that_admits_only_what_is_restricted(laptop):
    with connected(laptop, "-n", "restricted"):
        assert laptop.run("curl", "-sS", "--max-time", "10", "http://web.default").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["conect"], "connect"),
        (["connect", "--nosuch"], "--nosuch"),
        (["connect", "--grace", "0"], "--grace"),
        (["connect", "-o", "xml"], "json"),
    ],
)
def test_command_line_that_makes_no_sense(laptop, arguments, told):
    done = laptop.run(laptop.tow, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
