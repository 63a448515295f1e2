"""The protocols, sans-IO: bytes in, events and bytes out."""
