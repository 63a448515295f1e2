"""Measures `tow connect` by the Kubernetes API and directly, each beside its limit."""
