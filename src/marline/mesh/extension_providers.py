"""The extension providers of a mesh that decide about requests, and whom their services concern."""

from collections.abc import Iterator, Set

from marline.api.mesh_config.providers import ExtAuthzGrpc, ExtAuthzHttp
from marline.mesh.model import MeshSettings
from marline.mesh.rules import Rules
from marline.mesh.selection import Selection, selection_of


def authorizer_of(settings: MeshSettings, name: str) -> ExtAuthzHttp | ExtAuthzGrpc | None:
    """The provider of a name, if it is one for authorization."""
    provider = next((item for item in settings.extension_providers if item.name == name), None)
    return None if provider is None else provider.envoy_ext_authz_http or provider.envoy_ext_authz_grpc


def host_of(asked: ExtAuthzHttp | ExtAuthzGrpc) -> str:
    """The hostname in its `[<namespace>/]<hostname>`."""
    return asked.service.rpartition("/")[2].lower()


def asking(settings: MeshSettings, rules: Rules, hosts: Set[str]) -> Iterator[Selection]:
    """The workloads whose policies have services of these hosts asked: they ask only if there is one."""
    names = {item.name for item in settings.extension_providers}
    found = {name: authorizer_of(settings, name) for name in names}
    concerned = {name for name, asked in found.items() if asked is not None and host_of(asked) in hosts}
    for policy in (item for items in rules.authorization.values() for item in items) if concerned else ():
        provider = policy.spec.provider
        if provider is not None and provider.name in concerned:
            yield selection_of(policy, settings.root_namespace)
