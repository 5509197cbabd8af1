"""Completion for bash, written from the parser: commands, options, and files after what takes one.

`python -m tests.docs.completion` writes it; a test fails when it has been forgotten. zsh reads the
same file through its `bashcompinit`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from blindllama._cli.parser import make_parser

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "sdk" / "data" / "share" / "bash-completion" / "completions" / "blindllama"

_HEAD = """\
# Completion of blindllama for bash; written by `python -m tests.docs.completion`.
# zsh: autoload -U bashcompinit && bashcompinit && source THIS_FILE

_blindllama() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words="" files=""
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="@COMMANDS@"
    else
        case "${COMP_WORDS[1]} $before" in
"""
_TAIL = """\
        esac
    fi
    if [ -n "$files" ] && [ "${word#-}" = "$word" ]; then
        while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$word")
    else
        while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$word")
    fi
}

complete -o filenames -o bashdefault -F _blindllama blindllama
"""


def completion() -> str:
    """The whole file."""
    commands = _commands(make_parser())
    lines = []
    for name, parser in commands.items():
        files = [
            option
            for action in parser._actions
            for option in action.option_strings
            if action.type is Path
        ]
        if files:
            cases = "|".join(f'"{name} {option}"' for option in files)
            lines.append(f"            {cases}) files=yes ;;")
        options = " ".join(option for action in parser._actions for option in action.option_strings)
        # A command whose own arguments are files completes them too.
        named = any(action.type is Path and not action.option_strings for action in parser._actions)
        own = " files=yes" if named else ""
        lines.append(f'            "{name} "*) words="{options}"{own} ;;')
    head = _HEAD.replace("@COMMANDS@", " ".join([*commands, "--help"]))
    return head + "\n".join(lines) + "\n" + _TAIL


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (found,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(found.choices)


if __name__ == "__main__":
    PLACE.write_text(completion(), encoding="utf-8")
