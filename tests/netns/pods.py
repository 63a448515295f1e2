"""A pod: a network namespace of its own, that this one, its node, reaches by a wire."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager

from tests.netns import machine

NODE4, POD4 = "10.244.0.1", "10.244.0.9"
NODE6, POD6 = "fd00:10:244::1", "fd00:10:244::9"
OTHER4, OTHER6 = "10.244.1.1", "fd00:10:244:1::1"
_ADDRESSES = (f"{NODE4}/24", f"{NODE6}/64", f"{OTHER4}/32", f"{OTHER6}/128")
_HERE = "/proc/thread-self/ns/net"


class Pod:
    """The pod's namespace; the test's thread is on the node, but inside :meth:`inside`."""

    def __init__(self, node, namespace):
        self._node = node
        self._namespace = namespace

    @contextmanager
    def inside(self):
        """What is made in here, sockets or processes, is in the pod."""
        machine.enter_namespace(self._namespace)
        try:
            yield
        finally:
            machine.enter_namespace(self._node)

    def listen(self, port=0, kind=socket.SOCK_STREAM):
        """A socket of the pod, on all its addresses."""
        with self.inside():
            made = socket.socket(socket.AF_INET6, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind(("::", port))
        made.settimeout(10)
        if kind == socket.SOCK_STREAM:
            made.listen()
        return made


@contextmanager
def running():
    """A pod, and the addresses of its node: two of each family, of which one is its gateway."""
    with _opened(_HERE) as node:
        machine.enter_new_namespace()
        with _opened(_HERE) as namespace:
            machine.run("ip link set lo up")
            machine.enter_namespace(node)
            machine.run(
                "ip link add wire type veth peer name eth0 "
                f"netns /proc/{os.getpid()}/fd/{namespace}; ip link set wire up"
            )
            for address in _ADDRESSES:
                machine.run(f"ip address add {address} dev wire {_nodad(address)}")
            pod = Pod(node, namespace)
            with pod.inside():
                machine.run(
                    f"ip link set eth0 up; ip address add {POD4}/24 dev eth0; "
                    f"ip address add {POD6}/64 dev eth0 nodad; "
                    f"ip route add default via {NODE4}; ip -6 route add default via {NODE6}"
                )
            try:
                yield pod
            finally:
                machine.run("ip link del wire")


@contextmanager
def _opened(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _nodad(address):
    return "nodad" if ":" in address else ""
