"""Puts sections of our docstrings that Griffe does not know into Markdown that it passes on."""

import re

import griffe

CALL_ARGUMENTS = re.compile(r"^Call arguments:\n((?:[ ]{4}.*\n?)+)", re.MULTILINE)


def call_arguments(section: re.Match) -> str:
    """Makes a list of `name: text` lines, whose text may go on in lines further in."""
    lines = re.sub(r"\n[ ]{8,}", " ", section[1].rstrip()).splitlines()
    items = (line.strip().partition(": ") for line in lines)
    return "\n".join(["**Call arguments:**", "", *(f"- `{n}`: {text}" for n, _, text in items), ""])


class Sections(griffe.Extension):
    def on_object(self, *, obj, **_):
        if obj.docstring:
            text = CALL_ARGUMENTS.sub(call_arguments, obj.docstring.value)
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
