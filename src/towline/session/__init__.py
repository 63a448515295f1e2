"""One running `tow` command: its signals, its control socket, its way to the background."""
