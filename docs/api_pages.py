"""One page of the site for every public class and function, made from its docstring."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from mkdocs.structure.files import File

from rnn_topologies import layers, testing

GUIDE = (
    *("unrolling", "long-memory", "lstm-gates", "gru-gates", "bidirectional"),
    *("layers", "cpu", "export", "data", "scale", "safety"),
)
# What a user calls beyond the constructor.
METHODS = {
    "Bidirectional": ("explain",),
    "Decoder": ("step", "greedy", "sample", "beam_search", "prepare"),
    "LinearCell": ("coefficients",),
    "RNN": ("explain", "step", "stream", "reset_state"),
    "RecurrentCell": ("values", "sequence", "noise", "output_state"),
    "Stream": ("reset",),
}
GROUPS = {
    "Layers": lambda member: issubclass(member, layers.RNN | layers.Bidirectional),
    "Cells": lambda member: issubclass(member, layers.Cell),
    "Wrappers and stacks": lambda member: issubclass(member, layers.RecurrentCell),
    "Decoding": lambda member: (
        "Attention" in member.__name__ or member in (layers.Decoder, layers.InitialState)
    ),
}


ROOT = pathlib.Path(__file__).parent.parent


def on_startup(command, dirty):
    """Lays the package out as it is when installed, for mkdocstrings to find its parts."""
    package = ROOT / "build" / "package" / "rnn_topologies"
    package.mkdir(parents=True, exist_ok=True)
    parts = [*(ROOT / "rnn_topologies").iterdir(), ROOT / "layers", ROOT / "tasks"]
    for part in parts:
        link = package / part.name
        if not link.exists():
            link.symlink_to(part)


def group_of(name) -> str:
    member = getattr(layers, name)
    if isinstance(member, type):
        for group, belongs in GROUPS.items():
            if belongs(member):
                return group
    return "Tools"


def pages() -> dict[str, list[tuple[str, str]]]:
    """Returns, for every group, (title, Markdown) of its pages."""
    found = {group: [] for group in (*GROUPS, "Tools", "Testing")}
    for name in layers.__all__:
        if name == "CELLS":
            continue
        text = f"::: rnn_topologies.layers.{name}\n"
        if name in METHODS:
            listed = ", ".join(METHODS[name])
            text += f"    options:\n      members: [{listed}]\n"
        found[group_of(name)].append((name, text))
    for name in testing.__all__:
        if name != "CHECKS":
            found["Testing"].append((name, f"::: rnn_topologies.testing.{name}\n"))
    return {group: sorted(listed) for group, listed in found.items()}


def on_config(config):
    guide = [{"Course": "README.md"}, *(f"{name}.md" for name in GUIDE)]
    reference = [
        {group: [{name: f"api/{name}.md"} for name, _ in listed]}
        for group, listed in pages().items()
    ]
    config.nav = [{"Guide": guide}, {"Reference": reference}]
    return config


def on_files(files, config):
    for listed in pages().values():
        for name, text in listed:
            files.append(File.generated(config, f"api/{name}.md", content=text))
    return files
