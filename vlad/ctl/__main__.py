"""`vladctl`: parse the arguments and run one command."""

from __future__ import annotations

import importlib
import os
import sys

from vlad.ctl.client import ControlError
from vlad.ctl.output import Output
from vlad.ctl.parser import make_parser

EXIT_REFUSED = 1
EXIT_NOT_REACHABLE = 3
EXIT_NOT_PERMITTED = 4
_EXIT_CODES = {
    "not_running": EXIT_NOT_REACHABLE,
    "no_answer": EXIT_NOT_REACHABLE,
    "may_not_connect": EXIT_NOT_PERMITTED,
    "not_permitted": EXIT_NOT_PERMITTED,
}


def main(argv: list[str] | None = None) -> int:
    """Run the command that `argv` names; the exit status, as `vladctl --help` lists them."""
    arguments = make_parser().parse_args(argv)
    out = Output(json=arguments.json)
    try:
        # Imported only now: status must not wait for what doctor needs.
        status: int = importlib.import_module(f"vlad.ctl.commands.{arguments.module}").run(arguments, out)
        sys.stdout.flush()
    except ControlError as error:
        out.error(error.code, error.message, error.hint)
        return _EXIT_CODES.get(error.code, EXIT_REFUSED)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # The reader has gone, as `head` does; nothing more can be said, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
