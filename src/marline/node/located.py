"""Where in a YAML text each field stands."""

import yaml


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
