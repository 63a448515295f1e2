"""Asks the first nameserver of resolv.conf, as it stands where this runs: on the laptop, in a pod.

    python3 asking.py < QUESTIONS

QUESTIONS are lines of a transport and a query in hexadecimal; for each there is a line with the
reply, in hexadecimal, or `-` when there is none. The standard library only: pods have no other.
"""

import socket
import sys

TIMEOUT_SECONDS = 10


def nameserver():
    with open("/etc/resolv.conf") as file:
        return next(words[1] for words in map(str.split, file) if words[:1] == ["nameserver"])


def by_udp(host, query):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT_SECONDS)
        client.connect((host, 53))
        client.send(query)
        while True:
            reply = client.recv(65535)
            if reply[:2] == query[:2]:
                return reply


def by_tcp(host, query):
    with socket.create_connection((host, 53), TIMEOUT_SECONDS) as client:
        client.sendall(len(query).to_bytes(2, "big") + query)
        file = client.makefile("rb")
        return file.read(int.from_bytes(file.read(2), "big"))


def main():
    host = nameserver()
    for line in sys.stdin:
        transport, query = line.split()
        try:
            reply = {"udp": by_udp, "tcp": by_tcp}[transport](host, bytes.fromhex(query))
        except OSError:
            reply = b""
        print(reply.hex() or "-")


if __name__ == "__main__":
    main()
