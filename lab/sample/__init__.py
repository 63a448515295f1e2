"""The sample application that tests and the demo talk to; the standard library only.

8080      HTTP/1.1: says in JSON who answered and what was asked
8081      the same
7000      TCP echo until the end of input, then a line with the number of bytes
7001/udp  echo
7002      bulk and latency: the first byte is u (sink), d (source) or e (echo)
7003      accepts and resets
7004/udp  the pod's name, a space, and what was sent

With PORT_OFFSET in the environment each is so much higher. The kubelet's probes of the HTTP ports
are noted down on the standard output, in JSON, one a line.
"""
