"""Write the man pages of vlad, vlad-guard and vladctl, made from what their parsers know."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import vlad
import vlad.__main__ as daemon
from vlad.ctl import parser as ctl
from vlad.guard import __main__ as guard

_FILES = """\
.SH FILES
.TP
.I /etc/vlad/vlad.toml
the settings; then /etc/vlad/vlad.toml.d/*.toml, in the order of their names
.TP
.I /run/vlad
sockets of the daemon and of the guard
.TP
.I /var/lib/vlad
events, recordings, models, and whether the e-stop is latched
"""


def _plain(text: str) -> str:
    """Text that troff(7) takes as it is: no dash, backslash or leading dot with a meaning of its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in escaped.splitlines())


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help is argparse.SUPPRESS:
            continue
        names = formatter._format_action_invocation(action)
        yield f".TP\n.B {_plain(names)}\n{_plain(formatter._expand_help(action)) if action.help else ''}\n"


def _commands(parser: argparse.ArgumentParser, above: str = "") -> Iterator[str]:
    """Each command with its own arguments; those that every command takes are told of once."""
    for name, sub in _subparsers(parser).items():
        usage = " ".join(sub.format_usage().split())
        for common in ("[-h]", "[--run-dir DIR]", "[--json]"):
            usage = usage.replace(f" {common}", "")
        words = usage.partition(f"{parser.prog} ")[2]
        yield f".TP\n.B {_plain(above + words)}\n{_plain(sub.description or '')}\n"
        yield from _commands(sub, f"{above}{name} ")


def page(parser: argparse.ArgumentParser, others: list[str]) -> str:
    """One page, section 1."""
    name, about = parser.prog, parser.description or ""
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    parts = [
        f'.TH {name.upper()} 1 "" "vlad {vlad.__version__}"\n',
        f".SH NAME\n{_plain(name)} \\- {_plain(about[0].lower() + about[1:].rstrip('.'))}\n",
        f".SH SYNOPSIS\n{_plain(usage)}\n",
        f".SH DESCRIPTION\n{_plain(about)}\n",
        ".SH OPTIONS\n",
        *_options(parser),
    ]
    if commands := list(_commands(parser)):
        parts += [".SH COMMANDS\n", *commands]
    if parser.epilog:
        parts.append(f".SH NOTES\n.nf\n{_plain(parser.epilog)}\n.fi\n")
    also = ",\n".join(f".BR {_plain(other)} (1)" for other in others)
    return "".join([*parts, _FILES, f".SH SEE ALSO\n{also}\n"])


def main(argv: list[str] | None = None) -> int:
    """Write the pages into a folder."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, metavar="DIR")
    folder: Path = arguments.parse_args(argv).folder
    parsers = [daemon.make_parser(), guard.make_parser(), ctl.make_parser()]
    folder.mkdir(parents=True, exist_ok=True)
    for parser in parsers:
        others = [other.prog for other in parsers if other is not parser]
        (folder / f"{parser.prog}.1").write_text(page(parser, others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
