"""Compares what could route requests: Envoy, HAProxy, and nginx, on this machine's loopback."""
