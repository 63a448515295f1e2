"""A mesh by people who may do little: what is documented is enough, and no more than that."""

from __future__ import annotations

import pytest

from tests import documented
from tests.e2e import objects
from tests.e2e.applications import local_application
from tests.e2e.broken import NAMESPACE, as_user
from tests.e2e.meshing import await_answers, meshed, meshing

ACCESS_ERROR = 5

pytestmark = pytest.mark.usefixtures("no_trace")

TO_JOIN = documented.rules("mesh")
TO_BEGIN = [*TO_JOIN, *documented.rules("mesh", part=1)]


def test_documented_rights_are_enough_for_the_first_and_for_who_joins(lab, laptop):
    with (
        objects.user(lab, "mesh-begins", TO_BEGIN, NAMESPACE),
        objects.user(lab, "mesh-joins", TO_JOIN, NAMESPACE),
        local_application(laptop, "here") as port,
    ):
        first = ("web", f"--expose={port}:80", *as_user(lab, laptop, "mesh-begins"))
        other = ("web", f"--expose={port}:80", *as_user(lab, laptop, "mesh-joins"))
        with meshing(laptop, *other) as session:
            error = session.error()
            assert error["exit_code"] == ACCESS_ERROR
            assert "create" in error["summary"]
        addresses = objects.addresses_of_service(lab, "web", NAMESPACE)
        with (
            meshed(laptop, *first, "--match=header:x-user=ada") as begun,
            meshed(laptop, *other, "--match=header:x-user=bob"),
        ):
            notes = [each["message"] for each in begun.events if each["event"] == "note"]
            assert any("may not make Roles" in note for note in notes)
            await_answers(lab, "here", addresses, x_user="ada")
            await_answers(lab, "here", addresses, x_user="bob")
            begun.interrupt()
            assert begun.end() == 0
            await_answers(lab, "here", addresses, x_user="bob")
        await_answers(lab, "team-web", addresses, x_user="bob")
