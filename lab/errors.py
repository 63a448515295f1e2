"""The one error that the lab shows to people."""


class LabError(Exception):
    """Something about the lab went wrong; the text says what, and what to do about it."""
