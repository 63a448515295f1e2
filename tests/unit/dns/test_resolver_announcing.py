"""The resolver tells of the addresses that it hands out, whatever comes of that."""

import asyncio
import logging

import dns.rcode

from tests.unit.dns.fakedns import Setting, ask, texts
from towline.errors import RedirectError


async def test_only_addresses_of_the_cluster_are_announced():
    setting = Setting()
    async with setting.resolver:
        await ask(setting, "db")
        await ask(setting, "example.com")
        await ask(setting, "nope")
        await ask(setting, "only4", "AAAA")

        assert setting.announced == [["10.244.0.5", "10.244.0.6"]]


async def test_answer_whose_addresses_lead_nowhere_is_handed_out(caplog):
    async def on_answer(addresses):
        raise RedirectError("no route")

    setting = Setting(on_answer=on_answer)
    async with setting.resolver:
        assert len(texts(await ask(setting, "db"))) == 2
    assert caplog.text == ""


async def test_announcement_that_hangs_is_a_failure(caplog):
    async def on_answer(addresses):
        await asyncio.Event().wait()

    setting = Setting(cluster_timeout=0.05, on_answer=on_answer)
    async with setting.resolver:
        assert (await ask(setting, "web.default.svc.cluster.local")).rcode() == dns.rcode.SERVFAIL
    assert caplog.text == ""


async def test_mistake_of_ours_is_a_failure_and_shows_no_traceback(capfd, monkeypatch):
    async def on_answer(addresses):
        raise ZeroDivisionError

    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a session without -v
    setting = Setting(on_answer=on_answer)
    async with setting.resolver:
        assert (await ask(setting, "db")).rcode() == dns.rcode.SERVFAIL
    assert capfd.readouterr() == ("", "")
