"""The sides of a lookup, each as a process of its own that says `ready`, and ends with its input.

`world` is the nameservers of all links; `session NAMESPACE` a session's names, with a cluster that
is a table, to which each line of input adds a record. What the session has to say of this machine
comes before `ready`, a line each.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from ipaddress import ip_network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.netns import resolved
from tests.unit.dns.fakedns import POD_RESOLV_CONF, FakeCluster, FakeUpstream, soa
from towline.dns.policy import ClusterNames
from towline.dns.server import Listeners, Server
from towline.features.uplink.leads import Leads
from towline.features.uplink.named import Named
from towline.features.uplink.names import Names, Nameservers
from towline.redirect.control import Redirect
from towline.wire.dns import Name

_WORLD = """\
example.com     A  192.0.2.1
printer.lan     A  192.0.2.2
"""
_VPN = "host.corp A 192.0.2.3"
# As long as the root's: whoever keeps its denials, keeps them for the day.
_DAY = 86400


class _World(FakeUpstream):
    def soa_for(self, name):
        return soa(_DAY)


class _Names(Names):
    def __init__(self, cluster, *others):
        super().__init__(None, *others)
        self._cluster = cluster

    async def _ask_cluster(self, message):
        return await self._cluster.answer(message)


@contextlib.asynccontextmanager
async def world():
    async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
        for host, zone in ((resolved.WORLD, _WORLD), (resolved.VPN, _VPN)):
            server = Server(_listen(host), _World(zone).ask, group.create_task)
            await server.start()
            stack.callback(server.close)
        yield


def _listen(host):
    udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
    for each in (udp, tcp):
        each.setblocking(False)
        each.bind((host, 53))
    tcp.listen()
    return Listeners(53, (udp,), (tcp,))


@contextlib.asynccontextmanager
async def session(namespace):
    conf = POD_RESOLV_CONF.replace("default", namespace)
    cluster = FakeCluster()
    cluster.add(Name.of("1.0.96.10.in-addr.arpa"), "PTR", "web.default.svc.cluster.local.")
    async with Redirect.open() as redirect:
        leads = Leads(redirect, Named())
        await leads.hold("the test", [ip_network("10.96.0.0/16")])
        names = _Names(cluster, redirect, leads, Nameservers(), lambda found: print(found.what))
        async with names.serve(ClusterNames.of_pod(conf, namespace)):
            yield cluster


async def main(side, *arguments):
    async with {"world": world, "session": session}[side](*arguments) as cluster:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, *record = line.split()
            cluster.add(Name.of(name), *record)
            print("added", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
