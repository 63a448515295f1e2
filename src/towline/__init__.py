"""Two-way networking between a developer's machine and a Kubernetes cluster."""

__version__ = "0.1.0"
