"""Measures `tow mesh` side by side with the service without it, and with nginx in its place."""
