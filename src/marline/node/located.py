"""Where in a YAML text each field stands."""

import re
from typing import Final

import yaml

_KEY: Final = re.compile(r"\[([^\]]*[^\]\d][^\]]*)\]")


def lines_of(node: yaml.Node | None) -> dict[str, int]:
    """Field path → line, both counted as errors count them: `a.b[0]`, and from 1."""
    found: dict[str, int] = {}
    if node is not None:
        _walk(node, "", found)
    return found


def _walk(node: yaml.Node, path: str, found: dict[str, int]) -> None:
    found.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            found[below] = key.start_mark.line + 1
            _walk(value, below, found)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, f"{path}[{index}]", found)


def nearest_line(lines: dict[str, int], path: str) -> int:
    """The line of a field; one that is missing is missing in the innermost object around it."""
    path = _KEY.sub(r".\1", path)
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 1)
