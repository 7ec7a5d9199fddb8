"""The messages of the SPIFFE Workload API (its specification, appendix A), as protobuf classes.

Described here rather than generated: the definition is small, public and frozen. It has a descriptor pool of
its own, so that a generated copy in the same process, such as a client library's, is not in its way.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

_FILE: Final = "marline/spiffe_workload_api.proto"
_STRUCT: Final = "google.protobuf.Struct"
_Field = descriptor_pb2.FieldDescriptorProto
_TEXT, _BYTES = _Field.TYPE_STRING, _Field.TYPE_BYTES

_BYTES_BY_NAME: Final = "map<string, bytes>"
_MESSAGES: Final[dict[str, tuple[tuple[str, "_Field.Type.ValueType | str", bool], ...]]] = {
    # Each field: its name, its type (a scalar's number or a message's name) and whether it is repeated; they
    # are numbered in order.
    "X509SVIDRequest": (),
    "X509SVIDResponse": (
        ("svids", "X509SVID", True),
        ("crl", _BYTES, True),
        ("federated_bundles", _BYTES_BY_NAME, True),
    ),
    "X509SVID": (
        ("spiffe_id", _TEXT, False),
        ("x509_svid", _BYTES, False),
        ("x509_svid_key", _BYTES, False),
        ("bundle", _BYTES, False),
        ("hint", _TEXT, False),
    ),
    "X509BundlesRequest": (),
    "X509BundlesResponse": (("crl", _BYTES, True), ("bundles", _BYTES_BY_NAME, True)),
    "JWTSVIDRequest": (("audience", _TEXT, True), ("spiffe_id", _TEXT, False)),
    "JWTSVIDResponse": (("svids", "JWTSVID", True),),
    "JWTSVID": (("spiffe_id", _TEXT, False), ("svid", _TEXT, False), ("hint", _TEXT, False)),
    "JWTBundlesRequest": (),
    "JWTBundlesResponse": (("bundles", _BYTES_BY_NAME, True),),
    "ValidateJWTSVIDRequest": (("audience", _TEXT, False), ("svid", _TEXT, False)),
    "ValidateJWTSVIDResponse": (("spiffe_id", _TEXT, False), ("claims", _STRUCT, False)),
}


def _add_message(file: descriptor_pb2.FileDescriptorProto, name: str) -> None:
    message = file.message_type.add(name=name)
    for number, (field, kind, repeated) in enumerate(_MESSAGES[name], start=1):
        label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        made = message.field.add(name=field, number=number, label=label)
        if kind == _BYTES_BY_NAME:
            entry = message.nested_type.add(name=f"{field.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_TEXT)
            entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL, type=_BYTES)
            made.type, made.type_name = _Field.TYPE_MESSAGE, f".{name}.{entry.name}"
        elif isinstance(kind, str):
            made.type, made.type_name = _Field.TYPE_MESSAGE, f".{kind}"
        else:
            made.type = kind


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    struct = descriptor_pb2.FileDescriptorProto()
    struct_pb2.DESCRIPTOR.CopyToProto(struct)
    pool.Add(struct)
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, syntax="proto3", dependency=[struct.name])
    for name in _MESSAGES:
        _add_message(file, name)
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles([_FILE], pool)


_made: Final = _classes()
X509SVIDResponse: Final = _made["X509SVIDResponse"]
X509BundlesResponse: Final = _made["X509BundlesResponse"]
JWTSVIDRequest: Final = _made["JWTSVIDRequest"]
JWTSVIDResponse: Final = _made["JWTSVIDResponse"]
JWTBundlesResponse: Final = _made["JWTBundlesResponse"]
ValidateJWTSVIDRequest: Final = _made["ValidateJWTSVIDRequest"]
ValidateJWTSVIDResponse: Final = _made["ValidateJWTSVIDResponse"]
