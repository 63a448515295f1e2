"""What towline puts into a cluster, and what it must know of one."""
