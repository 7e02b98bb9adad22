"""Griffe extension: rewrites docstring sections that Griffe does not know."""

import re
from typing import Any

import griffe

CALL_ARGUMENTS = re.compile(r"^Call arguments:\n((?:[ ]{4}.*\n?)+)", re.MULTILINE)


def format_call_arguments(section: re.Match[str]) -> str:
    """Returns the `name: text` lines of a section, with continuation lines, as a Markdown list."""
    lines = re.sub(r"\n[ ]{8,}", " ", section[1].rstrip()).splitlines()
    items = (line.strip().partition(": ") for line in lines)
    bullets = (f"- `{name}`: {text}" for name, _, text in items)
    return "\n".join(["**Call arguments:**", "", *bullets, ""])


class Sections(griffe.Extension):
    """Rewrites `Call arguments:` as a list and `Example:` as `Examples:`, which Griffe knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = CALL_ARGUMENTS.sub(format_call_arguments, obj.docstring.value)
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
