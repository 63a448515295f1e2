"""Some of a service's requests answered by programs of the laptop, all others by its pods."""

from __future__ import annotations

import signal

import pytest

from tests.e2e import objects
from tests.e2e.answering import ask
from tests.e2e.applications import ask_by_datagram, local_application
from tests.e2e.broken import told
from tests.e2e.meshing import (
    SERVED_SECONDS,
    asked,
    await_answers,
    meshed,
    meshing,
    record_of,
    recorder,
)
from tests.e2e.outage import SILENCE, outage
from tests.e2e.tow import GRACE_SECONDS, connected, starting
from tests.e2e.waiting import until

USAGE_ERROR = 2
SESSION_ERROR = 8

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
            sights = {each["target"]: each["uses"] for each in told(laptop, "birdseye")}
            (use,) = sights["svc/web"]
            assert (use["rules"], use["laptop"]) == (["header:x-user=ada"], "there")
        await_answers(lab, "web", x_user="ada")
    assert lab.kubectl_json("service", "web")["spec"] == before


def present(lab):
    return [each["match"] for each in record_of(lab)["mesh"]["participants"]]


def test_first_may_leave_first_and_the_last_puts_the_service_back(lab, laptop):
    before = lab.kubectl_json("service", "web")["spec"]
    with local_application(laptop, "one") as one, local_application(laptop, "two", 100) as two:
        with meshed(laptop, "web", f"--expose={two}:80", "--match=header:x-user=two") as second:
            with meshed(laptop, "web", f"--expose={one}:80", "--match=header:x-user=one") as last:
                assert last.ready()["agent"] == second.ready()["agent"]
                assert last.ready()["participants"] == 2
                await_answers(lab, "two", x_user="two")
                await_answers(lab, "one", x_user="one")
                second.interrupt()
                assert second.end() == 0
                await_answers(lab, "web", x_user="two")
                await_answers(lab, "one", x_user="one")
                assert present(lab) == [["header:x-user=one"]]
        await_answers(lab, "web", x_user="one")
    assert lab.kubectl_json("service", "web")["spec"] == before


def test_of_two_who_begin_at_once_one_joins_the_other(lab, laptop):
    with local_application(laptop, "here") as port:
        with (
            meshing(laptop, "web", f"--expose={port}:80", "--match=header:x-user=one") as one,
            meshing(laptop, "web", f"--expose={port}:80", "--match=header:x-user=two") as two,
        ):
            assert one.ready()["target"] == two.ready()["target"]
            assert len(present(lab)) == 2
            await_answers(lab, "here", x_user="one")
            await_answers(lab, "here", x_user="two")
            for session in (one, two):
                session.interrupt()
            assert [session.end() for session in (one, two)] == [0, 0]
        await_answers(lab, "web", x_user="two")


def test_killed_one_is_replaced_by_the_pods_at_once_and_dropped_later(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    with local_application(laptop, "one") as one, local_application(laptop, "two", 100) as two:
        with meshed(laptop, "web", f"--expose={one}:80", "--match=header:x-user=one"):
            with meshing(
                laptop, "web", f"--expose={two}:80", "--match=header:x-user=two"
            ) as second:
                second.ready()
                await_answers(lab, "two", x_user="two")
                second.process.kill()
                answer = await_answers(lab, "web", x_user="two")
                assert "is not there" in answer.headers["x-towline"]
                until(lambda: present(lab) == [["header:x-user=one"]], 40, "it to be dropped")
                answer = await_answers(lab, "web", x_user="two")
                assert "x-towline" not in answer.headers
                await_answers(lab, "one", x_user="one")


def test_dropped_one_joins_anew_when_it_is_back(lab, laptop):
    with local_application(laptop, "here") as port:
        with (
            meshed(laptop, "web", f"--expose={port}:80", "--match=header:x-user=one"),
            meshed(laptop, "web", f"--expose={port}:80", "--match=header:x-user=two") as away,
        ):
            await_answers(lab, "here", x_user="two")
            away.process.send_signal(signal.SIGSTOP)
            until(lambda: present(lab) == [["header:x-user=one"]], 60, "it to be dropped")
            away.process.send_signal(signal.SIGCONT)
            await_answers(lab, "here", x_user="two")
            assert len(present(lab)) == 2


def test_all_killed_are_replaced_by_the_pods_and_by_nothing_later(lab, laptop, no_trace):
    no_trace.allow_grace(GRACE_SECONDS)
    before = lab.kubectl_json("service", "web")["spec"]
    with local_application(laptop, "one") as one:
        with meshing(laptop, "web", f"--expose={one}:80", "--match=header:x-user=one") as first:
            first.ready()
            with meshing(
                laptop, "web", f"--expose={one}:80", "--match=header:x-user=two"
            ) as second:
                second.ready()
                await_answers(lab, "one", x_user="one")
                first.process.kill()
                second.process.kill()
                await_answers(lab, "web", x_user="one")
                until(
                    lambda: lab.kubectl_json("service", "web")["spec"] == before, 40, "the selector"
                )
                await_answers(lab, "web", x_user="one")


def test_pods_answer_while_no_program_listens_and_say_so(lab, laptop):
    with local_application(laptop, "free") as port:
        pass
    with meshed(laptop, "web", f"--expose={port}:80", "--match=header:x-user=ada") as session:
        session.event("unserved")
        address, _ = objects.addresses_of_service(lab, "web")

        def said() -> str:
            return asked(lab, address, x_user="ada").headers.get("x-towline", "")

        until(lambda: "is not there" in said(), SERVED_SECONDS, "the pods to say so")
        assert asked(lab, address, x_user="ada").name == "web"
        with local_application(laptop, "late"):
            session.event("served")
            await_answers(lab, "late", x_user="ada")


def test_silent_laptop_is_replaced_and_takes_over_again(lab, laptop):
    with local_application(laptop, "here") as port:
        with meshed(
            laptop, "web", f"--expose={port}:80", "--match=header:x-user=ada", "--grace=60"
        ) as session:
            await_answers(lab, "here", x_user="ada")
            seen = len(session.events)
            addresses = objects.addresses_of_service(lab, "web")
            with outage(laptop, SILENCE):
                answer = await_answers(lab, "web", addresses, x_user="ada")
                assert "x-towline" in answer.headers
                session.event("reconnecting", after=seen)
            session.event("reconnected", after=seen)
            await_answers(lab, "here", x_user="ada")


def test_agents_pod_that_is_lost_is_replaced_with_the_rules_of_all(lab, laptop):
    with local_application(laptop, "here") as port:
        with (
            meshed(laptop, "web", f"--expose={port}:80", "--match=header:x-user=one") as one,
            meshed(laptop, "web", f"--expose={port}:80", "--match=header:x-user=two"),
        ):
            await_answers(lab, "here", x_user="two")
            seen = len(one.events)
            lab.kubectl("delete", "pod", one.ready()["agent"], "--wait=false")
            one.event("reconnected", after=seen)
            await_answers(lab, "here", seconds=60, x_user="one")
            await_answers(lab, "here", x_user="two")
            await_answers(lab, "web")


def test_overlapping_rules_are_refused_with_both_named_unless_one_has_priority(lab, laptop):
    with local_application(laptop, "one") as one, local_application(laptop, "two", 100) as two:
        with meshed(laptop, "web", f"--expose={one}:80", "--match=header:x-user=ada"):
            where = ("web", f"--expose={two}:80", "--match=path^=/api")
            with meshing(laptop, *where) as second:
                error = second.error()
                assert error["exit_code"] == SESSION_ERROR
                (participant,) = record_of(lab)["mesh"]["participants"]
                assert error["summary"].count(participant["owner"]) == 2
                assert "path^=/api" in error["summary"]
                assert "header:x-user=ada" in error["summary"]
                assert "--priority" in error["hint"]
            with meshed(laptop, *where, "--priority=1"):
                await_answers(lab, "one", x_user="ada")
                address, _ = objects.addresses_of_service(lab, "web")
                assert asked(lab, address, path="/api/x", x_user="ada").name == "two"


def test_exchange_of_what_is_shared_is_refused_and_takes_all_by_force(lab, laptop):
    with local_application(laptop, "here") as port:
        with meshing(laptop, "web", f"--expose={port}:80") as mesh:
            mesh.ready()
            with starting(laptop, "web", f"--expose={port}:80", command="exchange") as other:
                assert "mesh" in other.error()["summary"]
            with connected(laptop, "web", f"--expose={port}:80", "--force", command="exchange"):
                assert "taken over" in mesh.error()["summary"]
                await_answers(lab, "here")
        await_answers(lab, "web")


def test_mesh_of_what_is_exchanged_is_refused_and_begins_by_force(lab, laptop):
    where = ("web", "--expose=8080:80")
    with starting(laptop, *where, command="exchange") as exchange:
        exchange.ready()
        with meshing(laptop, *where) as mesh:
            assert mesh.error()["exit_code"] == SESSION_ERROR
        with meshed(laptop, *where, "--force"):
            assert "taken over" in exchange.error()["summary"]
            await_answers(lab, "web")
        await_answers(lab, "web")


def test_only_the_requests_that_satisfy_the_rules_are_copied(lab, laptop):
    with local_application(laptop, "here") as port, recorder(laptop) as copies:
        with (
            meshed(laptop, "web", f"--expose={port}:80", "--match=header:x-user=ada"),
            connected(
                laptop,
                "web",
                f"--expose={copies.port}:80",
                "--match=path^=/copied",
                command="mirror",
            ) as mirror,
        ):
            assert "path^=/copied" in mirror.ready()["message"]
            address, _ = objects.addresses_of_service(lab, "web")
            await_answers(lab, "here", x_user="ada")
            assert asked(lab, address, path="/other").name == "web"
            assert asked(lab, address, path="/copied/1").name == "web"
            assert asked(lab, address, path="/copied/2", x_user="ada").name == "here"
            heard = {copies.heard.get(timeout=20) for _ in range(2)}
            assert heard == {"/copied/1", "/copied/2"}


def test_what_is_no_http_passes_untouched_over_each_port(lab, laptop):
    with local_application(laptop, "here") as port:
        with meshed(laptop, "sample", f"--expose={port}:8080", "--match=header:x-user=ada") as made:
            told = {each["port"]: each["speaks"] for each in made.ready()["ports"]}
            assert (told[8080], told[7000], told[7001]) == ("http", "look", "other")
            assert "7000/TCP, 7001/UDP" in made.ready()["message"]
            address, address6 = objects.addresses_of_service(lab, "sample")
            await_answers(lab, "here", (address, address6), port=8080, x_user="ada")
            for each in (address, address6):
                assert ask(lab, each, 7000) == b"hello5 bytes\n"
                assert ask_by_datagram(lab, each, 7001, b"hello") == b"hello"


def test_port_that_cannot_be_told_apart_is_refused_with_the_reason(lab, laptop):
    with meshing(laptop, "sample", "--expose=8080:7001/udp") as session:
        error = session.error()
        assert error["exit_code"] == USAGE_ERROR
        assert "7001/UDP: not HTTP" in error["summary"]
