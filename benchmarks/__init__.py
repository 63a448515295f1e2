"""Measures `tow` side by side with other ways into a cluster: `python -m benchmarks`."""
