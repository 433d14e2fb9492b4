"""The fault table as Markdown: `python -m tools.fault_table` prints it, `--write` puts it into the README."""

from __future__ import annotations

import argparse
from pathlib import Path

from vlad.safety.faults import GROUPS
from vlad.safety.reaction import Fault, Reaction

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- faults: python -m tools.fault_table --write -->\n", "<!-- end of faults -->\n"


def reaction(fault: Fault) -> str:
    """What the robot does, in words."""
    match fault.reaction:
        case Reaction.REPORT:
            done = "report"
        case Reaction.SLOW:
            done = f"slow, x {fault.factor:g}"
        case Reaction.ESTOP:
            done = "e-stop"
        case category:
            done = f"stop category {category.name[-1]}"
    held = f" after {fault.hold_s:g} s" if fault.hold_s else ""
    asked = f"; asks for {fault.request.value.replace('_', ' ')}" if fault.request else ""
    return done + held + asked


def table() -> str:
    """All groups, a heading row and a row for each fault."""
    lines = ["| fault | what it means | level | reaction | clears |", "|---|---|---|---|---|"]
    for group, faults in GROUPS.items():
        lines.append(f"| **{group}** | | | | |")
        for fault in faults:
            row = (f"`{fault.id}`", fault.meaning, fault.level.name, reaction(fault), fault.clears.value)
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def with_table(readme: str) -> str:
    """The README with the table between its two marks."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.fault_table", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    if parser.parse_args().write:
        README.write_text(with_table(README.read_text()))
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
