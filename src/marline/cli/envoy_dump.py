"""What an Envoy says of its configuration: the parts of `/config_dump`, without anything secret.

Source: Envoy's `envoy/admin/v3/config_dump.proto`.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marline.node.admin import Admin
from marline.node.errors import AdminError

Object = Mapping[str, Any]

_SECRET_FIELDS: Final = frozenset(
    ("private_key", "private_key_provider", "password", "session_ticket_keys", "generic_secret", "pkcs12")
)


@dataclass(frozen=True, slots=True)
class Dump:
    """The answer of `/config_dump?include_eds`, by section."""

    sections: Mapping[str, Object]
    """`ClustersConfigDump` and so on → its content."""

    @property
    def bootstrap(self) -> Object:
        found: Object = self.sections.get("BootstrapConfigDump", {}).get("bootstrap", {})
        return found

    def clusters(self) -> Iterator[Object]:
        yield from self._all(
            "ClustersConfigDump",
            ("static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"),
            "cluster",
        )

    def listeners(self) -> Iterator[Object]:
        section = self.sections.get("ListenersConfigDump", {})
        for item in section.get("static_listeners", ()):
            yield item["listener"]
        for item in section.get("dynamic_listeners", ()):
            for state in ("active_state", "warming_state"):
                if "listener" in item.get(state, {}):
                    yield item[state]["listener"]
                    break

    def route_configs(self) -> Iterator[Object]:
        """Also those written inside listeners."""
        yield from self._all(
            "RoutesConfigDump", ("dynamic_route_configs", "static_route_configs"), "route_config"
        )

    def secrets(self) -> Iterator[Object]:
        """With `secret`, and whether it is there yet: `state` is `ACTIVE` or `WARMING`."""
        section = self.sections.get("SecretsConfigDump", {})
        for name, state in (
            ("static_secrets", "ACTIVE"),
            ("dynamic_active_secrets", "ACTIVE"),
            ("dynamic_warming_secrets", "WARMING"),
        ):
            for item in section.get(name, ()):
                yield {"name": item.get("name", ""), "state": state, "secret": item.get("secret", {})}

    def _all(self, section: str, lists: tuple[str, ...], field: str) -> Iterator[Object]:
        for name in lists:
            for item in self.sections.get(section, {}).get(name, ()):
                if field in item:
                    yield item[field]


def parse_dump(text: str) -> Dump:
    """Raises `ValueError` if it is not a configuration dump."""
    configs = without_secrets(json.loads(text)).get("configs", ())
    return Dump({str(item["@type"]).rpartition(".")[2]: item for item in configs})


def without_secrets(value: Any) -> Any:
    """The same value without private keys and the like. Envoy leaves most of them out by itself; nothing
    here depends on that."""
    if isinstance(value, Mapping):
        return {key: without_secrets(item) for key, item in value.items() if key not in _SECRET_FIELDS}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value


async def ask_dump(admin: Admin) -> Dump:
    """Raises `AdminError`."""
    text = await admin.get("/config_dump?include_eds")
    try:
        # A large proxy's dump takes a while to read.
        return await asyncio.to_thread(parse_dump, text)
    except (ValueError, KeyError) as error:
        raise AdminError(f"{admin.socket}: the configuration dump cannot be read: {error}") from error


async def ask_json(admin: Admin, path: str) -> Object:
    """Raises `AdminError`."""
    try:
        found: Object = json.loads(await admin.get(path))
    except ValueError as error:
        raise AdminError(f"{admin.socket}: {path} is not JSON: {error}") from error
    return found


def address_of(address: Object) -> str:
    """An Envoy address as one writes it: `127.0.0.1:9080`, `unix:///path`."""
    if "pipe" in address:
        return f"unix://{address['pipe'].get('path', '')}"
    if "envoy_internal_address" in address:
        return f"internal:{address['envoy_internal_address'].get('server_listener_name', '')}"
    socket = address.get("socket_address", {})
    host = str(socket.get("address", ""))
    return f"{f'[{host}]' if ':' in host else host}:{socket.get('port_value', 0)}"


@dataclass(frozen=True, slots=True)
class ClusterName:
    """The parts of `outbound|9080|v2|reviews.default.svc.cluster.local`, Istio's form of cluster names."""

    direction: str = "-"
    port: str = "-"
    subset: str = "-"
    host: str = ""

    @classmethod
    def parse(cls, name: str) -> "ClusterName":
        parts = name.split("|")
        if len(parts) != 4:
            return cls(host=name)
        direction, port, subset, host = parts
        return cls(direction, port, subset or "-", host)
