"""A network namespace as a cluster: an agent and UDP servers; a process of its own.

Called with the descriptor of the link's socket, and `ping` if the agent may send echoes. Says
`ready`, and ends with the link.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.netns import machine
from towline.agent.server import Agent

IPV4, IPV6 = "10.96.0.10", "fd00:10:96::10"
SECOND = {IPV4: "10.96.0.11", IPV6: "fd00:10:96::11"}
SILENT = {IPV4: "10.96.0.77", IPV6: "fd00:10:96::77"}
NO_HOST = {IPV4: "10.96.1.1", IPV6: "fd00:10:96::1:1"}
PROHIBITED = {IPV4: "10.96.2.1", IPV6: "fd00:10:96::2:1"}
# What comes is sent back; sent back from another port; answered with the sender's port.
ECHO, ELSEWHERE, PORT, CLOSED = 7, 8, 9, 10


class Server(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self.answer = answer

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.answer(self.transport, data, address)


def port_of(transport, _, address):
    transport.sendto(str(address[1]).encode(), address)


def from_elsewhere(transport, data, address):
    with socket.socket(transport.get_extra_info("socket").family, socket.SOCK_DGRAM) as other:
        other.bind((transport.get_extra_info("sockname")[0], 0))
        other.sendto(data, address)


ANSWERS = {
    ECHO: lambda transport, data, address: transport.sendto(data, address),
    ELSEWHERE: from_elsewhere,
    PORT: port_of,
}


async def main():
    machine.enter_new_namespace()
    machine.run(f"""
        ip link set lo up
        ip link add net type veth peer name nowhere
        ip link set net arp off; ip link set nowhere up
        ip address add {IPV4}/24 dev net; ip address add {SECOND[IPV4]}/24 dev net
        ip address add {IPV6}/112 dev net nodad; ip address add {SECOND[IPV6]}/112 dev net nodad
        ip link set net up
        ip route add unreachable 10.96.1.0/24
        ip route add unreachable fd00:10:96::1:0/112
        ip route add prohibit 10.96.2.0/24
        ip route add prohibit fd00:10:96::2:0/112
    """)
    if "ping" in sys.argv:
        machine.run("sysctl -qw net.ipv4.ping_group_range='0 2147483647'")
    loop = asyncio.get_running_loop()
    for host in (IPV4, IPV6, *SECOND.values()):
        for port, answer in ANSWERS.items():
            await loop.create_datagram_endpoint(
                lambda answer=answer: Server(answer), local_addr=(host, port)
            )
    agent = Agent(0.1)
    link = socket.socket(fileno=int(sys.argv[1]))
    await loop.connect_accepted_socket(agent.accept, link)
    print("ready", flush=True)
    await agent.over()
    await agent.close()


if __name__ == "__main__":
    asyncio.run(main())
