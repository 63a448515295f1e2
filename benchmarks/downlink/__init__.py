"""Measures `tow exchange` side by side with the original pods and with ways up, reversed."""
