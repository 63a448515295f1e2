"""The cluster as seen from this machine: `tow connect`."""
