"""Annotations that nobody reads."""

from collections.abc import Iterator, Mapping
from typing import Final

from marline.analyze.findings import MISPLACED_ANNOTATION, UNKNOWN_ANNOTATION, Finding
from marline.analyze.names import did_you_mean
from marline.api.registry import KINDS
from marline.api.security.authorization_policy import DRY_RUN
from marline.api.security.recorded import KEYS as RECORDED
from marline.mesh.endpoints import MANAGED_BY, PROBED_ANNOTATION
from marline.mesh.services import EXPORT_TO_ANNOTATION
from marline.mesh.snapshot import MeshSnapshot

SUPPRESS: Final = "galley.istio.io/analyze-suppress"
"""Codes that are not to be reported of a resource, separated by commas, `*` for all (istio.io, "Diagnose
your Configuration with Istioctl Analyze")."""

_READ: Final[Mapping[str, tuple[str, ...]]] = {
    SUPPRESS: ("*",),
    EXPORT_TO_ANNOTATION: ("Service",),
    MANAGED_BY: ("Service", "WorkloadEntry"),
    PROBED_ANNOTATION: ("WorkloadEntry",),
    DRY_RUN: ("AuthorizationPolicy",),
    **dict.fromkeys(RECORDED, ("AuthorizationPolicy",)),
}
"""By annotation: the kinds of which it is read."""
_OURS: Final = (".istio.io", "marline.io")


def unread_annotations(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for kind in KINDS:
        for item in sorted(snapshot.resources(kind.group, kind.kind), key=lambda each: each.ref):
            for name in sorted(item.metadata.annotations):
                path = f"metadata.annotations[{name}]"
                kinds = _READ.get(name)
                if kinds is None and name.partition("/")[0].endswith(_OURS):
                    mend = did_you_mean(name, _READ)
                    yield Finding(UNKNOWN_ANNOTATION, item.ref, path, f"{name} is not known", mend)
                elif kinds is not None and "*" not in kinds and kind.kind not in kinds:
                    message = f"{name} counts on {' and '.join(kinds)} only"
                    yield Finding(MISPLACED_ANNOTATION, item.ref, path, message)


def suppressed(finding: Finding, annotations: Mapping[str, str]) -> bool:
    asked = {item.strip() for item in annotations.get(SUPPRESS, "").split(",")}
    return "*" in asked or finding.code.code in asked
