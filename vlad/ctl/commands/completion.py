"""vladctl completion: a script for bash, made from the parser itself."""

from __future__ import annotations

import argparse
import sys

from vlad.ctl.output import Output
from vlad.ctl.parser import make_parser

_SCRIPT = """\
# Completion for bash: source <(vladctl completion bash)
_vladctl() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" command="" i
    case "$before" in
        --run-dir|--config|--state-dir|--output) COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${{COMP_WORDS[i]}}" in
            --run-dir) ((i++)) ;;
            -*) ;;
            *) command="${{COMP_WORDS[i]}}"; break ;;
        esac
    done
    local words="{words}"
    case "$command" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _vladctl vladctl
"""


def run(arguments: argparse.Namespace, out: Output) -> int:
    parser = make_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    cases = "\n".join(f'        {name}) words="{_words(sub)}" ;;' for name, sub in commands.choices.items())
    sys.stdout.write(_SCRIPT.format(words=_words(parser), cases=cases))
    return 0


def _words(parser: argparse.ArgumentParser) -> str:
    """The options, fixed words and commands that `parser` takes."""
    words: list[str] = []
    for action in parser._actions:
        words += action.option_strings
        if not action.option_strings:
            words += [str(choice) for choice in action.choices or ()]
    return " ".join(words)
