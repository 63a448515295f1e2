"""Some of a service's requests answered by programs of the laptop, all others by its pods."""

from __future__ import annotations

import pytest

from tests.e2e import objects
from tests.e2e.applications import local_application
from tests.e2e.meshing import asked, await_answers, meshed, record_of

pytestmark = pytest.mark.usefixtures("no_trace")


def test_requests_with_the_header_come_here_and_all_others_to_the_pods(lab, laptop):
    before = lab.kubectl_json("service", "web")["spec"]
    with local_application(laptop, "here") as port:
        with meshed(laptop, "web", f"--expose={port}:80", "--match=header:x-user=ada") as session:
            ready = session.ready()
            assert ready["match"] == ["header:x-user=ada"]
            assert ready["curl"] == "curl -H 'x-user: ada' http://web.default/"
            assert "80: HTTP (name http)" in ready["message"]
            await_answers(lab, "here", x_user="ada")
            for address in objects.addresses_of_service(lab, "web"):
                assert asked(lab, address).name == "web"
                assert asked(lab, address, x_user="bob").name == "web"
                answer = asked(lab, address, x_user="ada")
                assert answer.name == "here"
                assert answer.body["headers"]["host"] == "web"
                assert "x-forwarded-for" in answer.body["headers"]
                assert "x-towline" not in answer.headers
            assert len(record_of(lab)["mesh"]["participants"]) == 1
        await_answers(lab, "web", x_user="ada")
    assert lab.kubectl_json("service", "web")["spec"] == before
