"""Acme's settings for towline: the file that is beside this."""

from importlib.resources import files

SETTINGS = files(__name__) / "settings.yaml"
