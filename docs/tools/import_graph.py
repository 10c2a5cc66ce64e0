"""Figures of the import graph of a checkout: rooms, floors, arrows, upward arrows, circles.

    python -m docs.tools.import_graph            # this checkout
    python -m docs.tools.import_graph ROOT       # another one, to measure before and after
    python -m docs.tools.import_graph --json

A room is a folder or a module directly in `nocturne/`. An arrow leads from a room to another one of which
something imports something. Floors are the rooms of the longest chain of arrows; the rooms of a circle count as
one. An arrow is upward if the layers of `[tool.importlinter]` in pyproject.toml forbid it.
"""

import argparse
import ast
import json
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "nocturne"

Graph = dict[str, set[str]]
"""Every node with the nodes that it imports; never itself: {"a": {"b"}, "b": set()}."""

Arrow = tuple[str, str]


def figures(root: Path) -> dict[str, Any]:
    """The figures of a checkout: counts, and for upward arrows and circles the names of their rooms."""
    modules = import_graph(root)
    inner = {name for name in modules if name != PACKAGE}
    rooms = merge_nodes(modules, inner, lambda name: name.split(".")[1])
    layers = layers_of_rooms(root)
    return {
        "rooms": len(rooms),
        "floors": floors(rooms),
        "arrows": sum(map(len, rooms.values())),
        "upward arrows": None if layers is None else upward_arrows(rooms, layers),
        "circles": circles(rooms),
        "modules": len(inner),
        "module arrows": sum(map(len, merge_nodes(modules, inner, str).values())),
        "module circles": circles(modules),
    }


def import_graph(root: Path) -> Graph:
    """Every module of the package with the modules of the package that it imports, wherever in its file."""
    paths = {module_name(path.relative_to(root)): path for path in sorted((root / PACKAGE).rglob("*.py"))}
    graph = {}
    for module, path in paths.items():
        targets = {longest_module(name, paths) for name in imported_names(module, path)}
        graph[module] = {target for target in targets if target not in {None, module}}
    return graph


def module_name(path: Path) -> str:
    """The dotted name: `nocturne/cache/__init__.py` -> `nocturne.cache`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(module: str, path: Path) -> Iterator[str]:
    """Absolute dotted names of everything that a file imports: `from a import b` -> `a.b`."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def longest_module(name: str, modules: dict[str, Path]) -> str | None:
    """The module that a name lies in: `nocturne.errors.InputError` -> `nocturne.errors`; None outside the package."""
    parts = name.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in modules), None)


def merge_nodes(graph: Graph, nodes: set[str], group: Callable[[str], str]) -> Graph:
    """The graph of groups of nodes: an arrow between two groups where any of their nodes has one."""
    groups: Graph = {group(node): set() for node in sorted(nodes)}
    for node in nodes:
        groups[group(node)] |= {group(target) for target in graph[node] & nodes} - {group(node)}
    return groups


def circles(graph: Graph) -> list[list[str]]:
    """The sets of nodes that all reach one another, sorted."""
    reach = {node: reachable(graph, node) for node in graph}
    mutual = {frozenset({node, *(other for other in reach[node] if node in reach[other])}) for node in graph}
    return sorted(sorted(nodes) for nodes in mutual if len(nodes) > 1)


def reachable(graph: Graph, start: str) -> set[str]:
    """Every node at the end of a chain of arrows from a node; itself only if it lies on a circle."""
    reached: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        node = ahead.pop()
        if node not in reached:
            reached.add(node)
            ahead.extend(graph[node])
    return reached


def floors(graph: Graph) -> int:
    """Length of the longest chain of nodes, once every circle is one node."""
    first_of_circle = {node: circle[0] for circle in circles(graph) for node in circle}
    condensed = merge_nodes(graph, set(graph), lambda node: first_of_circle.get(node, node))

    @cache
    def height(node: str) -> int:
        return 1 + max(map(height, condensed[node]), default=0)

    return max(map(height, condensed), default=0)


def layers_of_rooms(root: Path) -> dict[str, int] | None:
    """The number of every room's layer, 0 on top, from import-linter's contract of layers; None without one."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    for contract in settings.get("tool", {}).get("importlinter", {}).get("contracts", []):
        if contract.get("type") == "layers" and contract.get("containers", [PACKAGE]) == [PACKAGE]:
            names = [layer.replace("|", " ").replace(":", " ").split() for layer in contract["layers"]]
            return {
                name.strip("()").removeprefix(f"{PACKAGE}."): number
                for number, layer in enumerate(names)
                for name in layer
            }
    return None


def upward_arrows(rooms: Graph, layers: dict[str, int]) -> list[Arrow]:
    """Arrows that do not lead to a lower layer; a room that no layer names is allowed everything."""
    return sorted(
        (room, target)
        for room, targets in rooms.items()
        for target in targets
        if room in layers and target in layers and layers[target] <= layers[room]
    )


def table(report: dict[str, Any]) -> str:
    """The figures for people, one a line; below upward arrows and circles, the rooms of each."""
    lines = []
    for name, value in report.items():
        count = len(value) if isinstance(value, list) else value
        lines.append(f"{name:<15} {'no layers in pyproject.toml' if count is None else f'{count:>5}'}")
        if isinstance(value, list):
            separator = " -> " if name == "upward arrows" else ", "
            lines.extend(f"{'':<21} {separator.join(names)}" for names in value)
    return "\n".join(lines)


def main() -> None:
    """Print the figures of one checkout."""
    parser = argparse.ArgumentParser(description="Figures of the import graph of a checkout.")
    parser.add_argument("root", type=Path, nargs="?", default=Path(__file__).resolve().parents[2], metavar="ROOT")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    report = figures(arguments.root)
    print(json.dumps(report, indent=2) if arguments.json else table(report))


if __name__ == "__main__":
    main()
