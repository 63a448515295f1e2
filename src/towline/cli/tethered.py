"""A session of `tow up`: `python -m towline.cli.tethered PID COMMAND [ARG]…`.

It ends in order when the process PID, its parent, dies in whatever way. It tells all, errors too,
as events on stdout: what is on stderr is the program's that it runs.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from towline.features.local.prctl import end_with_parent


def main(argv: list[str]) -> int:
    """Run a command line of `tow`; returns its exit code."""
    # As cli.entry: while this imports, an interrupt ends it in silence.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not end_with_parent(signal.SIGTERM, int(argv[0])):
        return 128 + signal.SIGTERM
    import click  # noqa: PLC0415

    from towline.cli import main as cli  # noqa: PLC0415
    from towline.cli.output import event_of, print_json, told  # noqa: PLC0415
    from towline.errors import TowlineError, UsageError  # noqa: PLC0415

    try:
        code: Any = cli.main.main(args=argv[1:], prog_name="tow", standalone_mode=False)
    except click.exceptions.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        known: TowlineError = UsageError(error.format_message())
    except Exception as error:  # noqa: BLE001 (it is told)
        known = told(error)
    else:
        return code if isinstance(code, int) else 0
    print_json(event_of(known))
    return known.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
