"""The base of all resource models: strict, immutable, JSON names in camelCase."""

import msgspec


class Model(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """A message of an API: attributes are the JSON names in snake_case, repeated fields are tuples."""


class Selector(Model, frozen=True):
    """Istio's `WorkloadSelector` of the security and telemetry APIs."""

    match_labels: dict[str, str] = {}


class NetworkingSelector(Model, frozen=True):
    """Istio's `WorkloadSelector` of the networking API."""

    labels: dict[str, str] = {}


class PolicyTargetReference(Model, frozen=True):
    """What a policy is attached to (Istio `type/v1beta1`, after GEP-713)."""

    kind: str
    name: str
    group: str = ""
    namespace: str = ""
