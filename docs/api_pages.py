"""MkDocs hooks: a page for every public class and function, and links to files outside `docs/`."""

import os
import pathlib
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from rnn_topologies import layers, testing

ROOT = pathlib.Path(__file__).parent.parent
GUIDE = (
    *("unrolling", "long-memory", "lstm-gates", "gru-gates", "bidirectional"),
    *("results", "data", "scale", "safety", "layers", "cpu", "export"),
)
# Documented methods, besides the constructor.
METHODS = {
    "Bidirectional": ("explain",),
    "Decoder": ("step", "greedy", "sample", "beam_search", "prepare"),
    "LinearCell": ("coefficients",),
    "RNN": ("explain", "step", "stream", "reset_state"),
    "RecurrentCell": ("values", "sequence", "noise", "output_state"),
    "Stream": ("reset",),
}
# The first group that matches a class gets its page.
GROUPS = {
    "Layers": lambda member: issubclass(member, layers.RNN | layers.Bidirectional),
    "Cells": lambda member: issubclass(member, layers.Cell),
    "Wrappers and stacks": lambda member: issubclass(member, layers.RecurrentCell),
    "Decoding": lambda member: (
        "Attention" in member.__name__ or member in (layers.Decoder, layers.InitialState)
    ),
}


def on_startup(command: str, dirty: bool) -> None:
    """Links the package in its installed layout, so that mkdocstrings finds all modules."""
    package = ROOT / "build" / "package" / "rnn_topologies"
    package.mkdir(parents=True, exist_ok=True)
    for part in [*(ROOT / "rnn_topologies").iterdir(), ROOT / "layers", ROOT / "tasks"]:
        link = package / part.name
        if not link.exists():
            link.symlink_to(part)


def group_of(name: str) -> str:
    """Returns the group of a public name of `layers`."""
    member = getattr(layers, name)
    if isinstance(member, type):
        for group, matches in GROUPS.items():
            if matches(member):
                return group
    return "Tools"


def reference_pages() -> dict[str, list[tuple[str, str]]]:
    """Returns the pages of each group, as (title, Markdown)."""
    pages = {group: [] for group in (*GROUPS, "Tools", "Testing")}
    for name in layers.__all__:
        if name == "CELLS":
            continue
        text = f"::: rnn_topologies.layers.{name}\n"
        if name in METHODS:
            text += f"    options:\n      members: [{', '.join(METHODS[name])}]\n"
        pages[group_of(name)].append((name, text))
    for name in testing.__all__:
        if name != "CHECKS":
            pages["Testing"].append((name, f"::: rnn_topologies.testing.{name}\n"))
    return {group: sorted(members) for group, members in pages.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Sets the navigation: the guide, then the reference by group."""
    guide: list[Any] = [{"Course": "README.md"}, *(f"{name}.md" for name in GUIDE)]
    reference = [
        {group: [{name: f"api/{name}.md"} for name, _ in members]}
        for group, members in reference_pages().items()
    ]
    config.nav = [{"Guide": guide}, {"Reference": reference}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for members in reference_pages().values():
        for name, text in members:
            files.append(File.generated(config, f"api/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, *, config: MkDocsConfig, **_: Any) -> str:
    """Points links to files outside `docs/`, which are not on the site, to the repository."""
    return markdown.replace("](../", f"]({config.repo_url}/blob/main/")
