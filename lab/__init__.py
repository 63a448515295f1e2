"""A real Kubernetes cluster for the tests and the demo: one node and one laptop, each in a
network namespace of its own. Start with :class:`lab.cluster.Lab`, or `uv run lab --help`.
"""
