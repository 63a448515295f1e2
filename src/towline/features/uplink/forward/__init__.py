"""Ports of this machine that lead into the cluster: `tow forward`."""
