"""What a session demands: rights, a namespace to itself; and the doctor that tells beforehand."""

from __future__ import annotations

import json

import pytest

from tests.e2e.tow import GRACE_SECONDS, connected, starting

pytestmark = pytest.mark.usefixtures("no_trace")

ESCAPE = "\x1b"


def tow(laptop, *arguments, **environment):
    return laptop.run(laptop.tow, *arguments, env=laptop.environment(**environment))


def test_check_finds_nothing_wrong_here(laptop):
    checked = tow(laptop, "check")
    assert checked.returncode == 0, checked.stdout
    assert "PROBLEM" not in checked.stdout
    assert ESCAPE not in checked.stdout
    findings = json.loads(tow(laptop, "check", "-o", "json").stdout)
    assert {"root", "tun", "nftables", "dns", "cluster", "rights", "routes"} <= {
        finding["name"] for finding in findings
    }


def test_check_names_the_rights_that_are_missing(lab, laptop):
    file = lab.kubeconfig(user="namespace-only")
    checked = tow(laptop, "check", "-n", "default", KUBECONFIG=str(file))
    assert checked.returncode == 1
    assert "you may not create jobs.batch in the namespace default" in checked.stdout


def test_leftover_of_a_killed_session_is_no_obstacle(laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with starting(laptop) as first:
        first.ready()
        first.process.kill()
        first.process.wait()
        with connected(laptop):
            page = laptop.run("curl", "-sS", "--max-time", "10", "http://web")
            assert page.returncode == 0


def test_rights_in_one_namespace_are_enough(lab, laptop):
    file = lab.kubeconfig(user="namespace-only")
    with connected(laptop, "-n", "team-a", KUBECONFIG=str(file)):
        for name, answer in (("web", "team-web"), ("web.other-ns", "other-web")):
            for family in ("-4", "-6"):
                page = laptop.run("curl", "-sS", "--max-time", "10", family, f"http://{name}")
                assert f'"{answer}"' in page.stdout, page.stderr
