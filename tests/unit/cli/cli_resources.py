"""Resources for tests of the command line, as text and as files."""

from pathlib import Path

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"


def virtual_service(name: str, namespace: str = "", timeout: str = "3s") -> str:
    """A VirtualService of six lines or seven."""
    place = f"  namespace: {namespace}\n" if namespace else ""
    return (
        "apiVersion: networking.istio.io/v1\n"
        "kind: VirtualService\n"
        f"metadata:\n  name: {name}\n{place}"
        "spec:\n  hosts: [reviews]\n  http:\n"
        f"  - timeout: {timeout}\n    route: [{{destination: {{host: reviews}}}}]\n"
    )


def written(directory: Path, name: str, *documents: str) -> Path:
    """A file of these documents."""
    path = directory / name
    path.write_text("---\n".join(documents))
    return path
