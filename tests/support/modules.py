"""The source modules of the checkout and what each of them imports, by parsing, not importing."""

import ast
import dataclasses
import functools
import pathlib
from collections.abc import Iterator

from .paths import ROOT

# Folder in the checkout -> name of the package when installed.
PACKAGES = {
    "layers": "rnn_topologies.layers",
    "tasks": "rnn_topologies.tasks",
    "rnn_topologies": "rnn_topologies",
}


@dataclasses.dataclass(frozen=True)
class Module:
    """A source file: its path, its dotted name and its syntax tree."""

    path: pathlib.Path
    name: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """Dotted name of the package that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def imports(self) -> set[str]:
        """Absolute dotted names that the file imports anywhere, also within functions.

        Not those under `if TYPE_CHECKING:`, which never run.
        """
        return set(_imported(self.tree, self.package))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield from (f"{module}.{alias.name}" for alias in node.names)


@functools.cache
def modules(folder: str) -> tuple[Module, ...]:
    """Returns the modules below one of the `PACKAGES` folders of the checkout.

    The symbolic links in `rnn_topologies/` to the other two folders are not followed.
    """
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT / folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        name = ".".join([PACKAGES[folder], *parts])
        found.append(Module(path, name, ast.parse(path.read_text("utf-8"))))
    return tuple(found)


@functools.cache
def import_graph() -> dict[str, set[str]]:
    """Returns, for every module of the project, the modules of the project that it imports."""
    every = [module for folder in PACKAGES for module in modules(folder)]
    names = {module.name for module in every}

    def resolve(name: str) -> str | None:
        """`a.b.Class` is in the module `a.b`; `a.b` itself may be a module."""
        while name and name not in names:
            name = name.rpartition(".")[0]
        return name or None

    return {
        module.name: {resolve(name) for name in module.imports()} - {None, module.name}
        for module in every
    }


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Returns the groups of modules that import each other, directly or through others."""
    index, low, stack, found = {}, {}, [], []

    def visit(node: str) -> None:  # Tarjan's strongly connected components
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found
