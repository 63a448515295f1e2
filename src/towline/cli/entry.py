"""The console script's way in, which imports next to nothing.

An interrupt while the rest is imported ends the process in silence, as it ends any program;
from then on whoever has something to clean up handles it.
"""

from __future__ import annotations

import signal


def run() -> None:
    """Run `tow` with this process's arguments; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from towline.cli import main  # noqa: PLC0415

    main.run()
