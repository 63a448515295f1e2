"""`python -m towline` is `tow`."""

from towline.cli.entry import run

run()
