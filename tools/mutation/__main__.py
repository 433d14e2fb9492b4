"""`tools/mutate [FILE...]`: run mutmut on vlad/safety, or on these files of it, and judge what survived.

A survivor is a change that no test noticed. accepted.toml lists those that change nothing that matters, each
with its reason; any other one makes this fail. mutmut's own settings are in pyproject.toml.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = "20"
"""Of each property, for each mutant."""
ACCEPTED = Path(__file__).with_name("accepted.toml")


@dataclass(frozen=True, slots=True)
class Survivor:
    """A change that no test noticed."""

    name: str
    removed: str
    """The changed lines as they are, and as they were made."""
    added: str


def mutmut(*words: str) -> str:
    """Run mutmut in the repository; its output."""
    command = [sys.executable, "-m", "mutmut", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def survivors(wanted: list[str]) -> list[Survivor]:
    """Those of the last run, with what was changed."""
    found = []
    for line in mutmut("results").splitlines():
        name, _, outcome = line.strip().partition(": ")
        if outcome not in ("survived", "no tests", "timeout"):
            continue
        if not any(fnmatch.fnmatch(name, pattern) for pattern in wanted):
            continue
        diff = [row for row in mutmut("show", name).splitlines() if not row.startswith(("---", "+++"))]
        removed = " ".join(row[1:].strip() for row in diff if row.startswith("-"))
        added = " ".join(row[1:].strip() for row in diff if row.startswith("+"))
        found.append(Survivor(name, removed, added))
    return found


def reason(survivor: Survivor, accepted: list[dict[str, str]]) -> str:
    """Why this survivor is accepted; empty: it is not."""
    for entry in accepted:
        same = (entry["was"], entry["became"]) == (survivor.removed, survivor.added)
        if same and fnmatch.fnmatch(survivor.name, f"*{entry['function']}__mutmut_*"):
            return entry["reason"]
    return ""


def patterns(files: list[Path]) -> list[str]:
    """Names of mutants of these files, as mutmut has them."""
    modules = (".".join(file.resolve().relative_to(ROOT).with_suffix("").parts) for file in files)
    return [f"{module.removesuffix('.__init__')}.*" for module in modules]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/mutate", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="of vlad/safety (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--judge", action="store_true", help="only judge the last run again")
    arguments = parser.parse_args()
    wanted = patterns(arguments.files) or ["*"]
    if not arguments.judge:
        chosen = wanted if arguments.files else []
        words = [sys.executable, "-m", "mutmut", "run", "--max-children", str(arguments.jobs), *chosen]
        quick = os.environ | {"VLAD_CASES": CASES}
        if subprocess.run(words, cwd=ROOT, env=quick, check=False).returncode:
            return 1
    accepted = tomllib.loads(ACCEPTED.read_text()).get("survivor", [])
    left = [survivor for survivor in survivors(wanted) if not reason(survivor, accepted)]
    for survivor in left:
        sys.stdout.write(f"{survivor.name}\n  was    {survivor.removed}\n  became {survivor.added}\n")
    sys.stdout.write(f"{len(left)} changes that no test notices and that are not accepted\n")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
