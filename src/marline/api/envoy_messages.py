"""Envoy's own JSON in resources, read as its protobuf messages: every field and type is one that there is.

Types are those of `xds-protos`. What values mean, Envoy checks when it gets them.
"""

import importlib
import pkgutil
import re
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from marline.api.errors import Fault
from marline.api.faults import Faults, nearest

TYPES: Final = {
    "LISTENER": "envoy.config.listener.v3.Listener",
    "FILTER_CHAIN": "envoy.config.listener.v3.FilterChain",
    "NETWORK_FILTER": "envoy.config.listener.v3.Filter",
    "LISTENER_FILTER": "envoy.config.listener.v3.ListenerFilter",
    "HTTP_FILTER": "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    "ROUTE_CONFIGURATION": "envoy.config.route.v3.RouteConfiguration",
    "VIRTUAL_HOST": "envoy.config.route.v3.VirtualHost",
    "HTTP_ROUTE": "envoy.config.route.v3.Route",
    "CLUSTER": "envoy.config.cluster.v3.Cluster",
    "EXTENSION_CONFIG": "envoy.config.core.v3.TypedExtensionConfig",
    "BOOTSTRAP": "envoy.config.bootstrap.v3.Bootstrap",
}
"""What an EnvoyFilter's `applyTo` names."""
_ANY: Final = "google.protobuf.Any"
_TYPED_STRUCTS: Final = ("udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct")
_PACKAGE: Final = re.compile(
    r"(envoy(?:\.[a-z0-9_]+)*\.v3[a-z0-9]*|(?:udpa|xds)(?:\.[a-z0-9_]+)*\.v\d[a-z0-9]*)(?:\.[A-Z]\w*)+"
)
"""The types of Envoy's API v3, the only one that it still has."""
_WELL_KNOWN: Final = ("google.protobuf.struct_pb2", "google.protobuf.wrappers_pb2")


def read(value: Mapping[str, Any], type_name: str, faults: Faults) -> Message | None:
    """The message of this type, or None with every fault added to `faults`."""
    before = len(faults.errors)
    descriptor = _descriptor(type_name)
    if descriptor is None:
        raise LookupError(f"xds-protos has no {type_name}")
    plain = _object(value, descriptor, faults)
    if len(faults.errors) > before:
        return None
    made: Message = message_factory.GetMessageClass(descriptor)()
    try:
        json_format.ParseDict(plain, made)
    except (json_format.ParseError, TypeError, ValueError) as error:
        # Such as two fields of which a message has only one.
        faults.add(_words(error))
        return None
    return made


def message_class(type_name: str) -> type[Message] | None:
    """The class of a message type; None if there is none."""
    descriptor = _descriptor(type_name)
    return message_factory.GetMessageClass(descriptor) if descriptor is not None else None


def _descriptor(type_name: str) -> Descriptor | None:
    pool = descriptor_pool.Default()
    if not type_name.startswith("google.protobuf.") and not _PACKAGE.fullmatch(type_name):
        return None
    try:
        return pool.FindMessageTypeByName(type_name)
    except KeyError:
        _import_package(type_name)
    try:
        return pool.FindMessageTypeByName(type_name)
    except KeyError:
        return None


def _import_package(type_name: str) -> None:
    """Types are known once their modules are imported; which module of a package has one, its name does
    not say."""
    for name in _WELL_KNOWN:
        importlib.import_module(name)
    found = _PACKAGE.fullmatch(type_name)
    if found is None:
        return
    try:
        package = importlib.import_module(found[1])
    except ModuleNotFoundError:
        return
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{found[1]}.{module.name}")


def _object(value: Any, descriptor: Descriptor, faults: Faults) -> Any:
    """The value with types that are named at run time written out."""
    if descriptor.full_name == _ANY:
        return _any(value, faults)
    if descriptor.file.package == "google.protobuf":
        return _leaf(value, descriptor, faults)
    if not isinstance(value, Mapping):
        faults.add(f"expected an object, a {descriptor.full_name}", Fault.TYPE)
        return value
    known = {field.json_name: field for field in descriptor.fields}
    made: dict[str, Any] = {}
    for name, item in value.items():
        field = known.get(name) or descriptor.fields_by_name.get(name)
        if field is None:
            style = known if name != name.lower() else descriptor.fields_by_name
            faults.at(name).add(
                f"unknown field of {descriptor.full_name}", Fault.UNKNOWN, nearest(name, style)
            )
        elif item is not None:
            made[field.json_name] = _field(item, field, faults.at(name))
    return made


def _field(value: Any, field: FieldDescriptor, faults: Faults) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return _map(value, kind.fields_by_name["value"], faults)
    if field.is_repeated:
        if not isinstance(value, list | tuple):
            faults.add("expected a list", Fault.TYPE)
            return value
        return [_item(item, field, faults.item(index)) for index, item in enumerate(value)]
    return _item(value, field, faults)


def _map(value: Any, field: FieldDescriptor, faults: Faults) -> Any:
    if not isinstance(value, Mapping):
        faults.add("expected an object", Fault.TYPE)
        return value
    return {key: _item(item, field, faults.key(str(key))) for key, item in value.items()}


def _item(value: Any, field: FieldDescriptor, faults: Faults) -> Any:
    if field.message_type is not None:
        return _object(value, field.message_type, faults)
    around = field.containing_type
    if around is None or around.GetOptions().map_entry:
        return value  # checked with the whole
    holder = message_factory.GetMessageClass(around)()
    try:
        json_format.ParseDict({field.json_name: [value] if field.is_repeated else value}, holder)
    except (json_format.ParseError, TypeError, ValueError) as error:
        faults.add(_words(error), Fault.TYPE)
    return value


def _leaf(value: Any, descriptor: Descriptor, faults: Faults) -> Any:
    """A message that JSON writes as a value: a duration, a number that may be absent, any JSON."""
    try:
        json_format.ParseDict(value, message_factory.GetMessageClass(descriptor)())
    except (json_format.ParseError, TypeError, ValueError, AttributeError) as error:
        faults.add(f"is no {descriptor.full_name}: {_words(error)}", Fault.TYPE)
    return value


def _any(value: Any, faults: Faults) -> Any:
    if not isinstance(value, Mapping) or not isinstance(value.get("@type"), str):
        faults.at("@type").add("is required, such as type.googleapis.com/envoy.…", Fault.REQUIRED)
        return value
    prefix, _, type_name = value["@type"].rpartition("/")
    body = {name: item for name, item in value.items() if name != "@type"}
    if type_name in _TYPED_STRUCTS:
        return _typed_struct(body, faults)
    descriptor = _descriptor(type_name)
    if descriptor is None:
        hint = "" if ".v2" not in type_name else "; expected a type of Envoy's API v3"
        faults.at("@type").add(f"{type_name!r} is no type of this Envoy{hint}")
        return value
    head = {"@type": f"{prefix or 'type.googleapis.com'}/{type_name}"}
    if descriptor.file.package == "google.protobuf":
        return {**head, "value": _leaf(body.get("value"), descriptor, faults)}
    return {**head, **_object(body, descriptor, faults)}


def _typed_struct(body: Mapping[str, Any], faults: Faults) -> Any:
    """A message that is written as plain JSON beside the name of its type: it is read as of that type."""
    type_url = body.get("type_url", body.get("typeUrl"))
    value = body.get("value", {})
    if not isinstance(type_url, str):
        faults.at("type_url").add("is required", Fault.REQUIRED)
        return body
    if not isinstance(value, Mapping):
        faults.at("value").add("expected an object", Fault.TYPE)
        return body
    prefix, _, type_name = type_url.rpartition("/")
    if _descriptor(type_name) is None:
        faults.at("type_url").add(f"{type_name!r} is no type of this Envoy")
        return body
    return _any({"@type": f"{prefix}/{type_name}", **value}, faults.at("value"))


def _words(error: Exception) -> str:
    """One line, without what protobuf says about where it was: the path says that."""
    text = str(error).partition("\n")[0]
    found = re.match(r"(?:Failed to parse (?:'?\w+'? field|.*? field): )+(.*)", text)
    text = (found[1] if found else text).partition(" at ")[0].rstrip(".")
    return text[:1].lower() + text[1:]
