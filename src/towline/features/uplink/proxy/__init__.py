"""A proxy of this machine that leads into the cluster: `tow proxy`."""
