"""What answers on this machine: whether it listens, and how traffic comes to it."""
