"""`tools/evaluate POLICY ...`: how good a committed policy is, each by its own module's `main(arguments)`."""

from __future__ import annotations

import sys

_USAGE = """usage: tools/evaluate demo [--worlds N] [--json]     the demo policy, closed loop in unseen worlds
       tools/evaluate g1 DATASET [--json]          the G1 policy's action error on a dataset
`tools/evaluate demo --help` and `tools/evaluate g1 --help` tell more."""


def main(arguments: list[str]) -> None:
    """Run the evaluation that the first argument names."""
    match arguments:
        case ["demo", *rest]:
            from tools.training import demo_evaluate

            demo_evaluate.main(rest)
        case ["g1", *rest]:
            from tools.training import g1_evaluate

            g1_evaluate.main(rest)
        case _:
            sys.exit(_USAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
