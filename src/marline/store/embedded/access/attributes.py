"""What a request asks for, as authorization sees it, and the words in which it is refused."""

from dataclasses import dataclass

from marline.store.embedded.credentials import User
from marline.store.interface import Forbidden


@dataclass(frozen=True, slots=True)
class Attributes:
    """A verb on resources, or (with `path`) on something else (kubernetes.io, "Authorization", "Review your
    request attributes")."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def resource_path(self) -> str:
        """`services` or `services/status`, as rules write it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def forbidden(user: User, asked: Attributes) -> Forbidden:
    """In kube-apiserver's words, since people search for them."""
    if asked.path:
        return Forbidden(f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"')
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    about = f'{resource} "{asked.name}"' if asked.name else resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return Forbidden(
        f'{about} is forbidden: User "{user.name}" cannot {asked.verb} resource "{asked.resource_path}"'
        f' in API group "{asked.group}" {where}'
    )
