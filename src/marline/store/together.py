"""Server-side apply of several resources at once: what is asked of `/marline/v1/apply`, at both of its ends.

The Kubernetes API has one request for each resource, so those who watch see half of a change for a moment:
a VirtualService whose subset is not there yet. Here all are written in one transaction.
"""

from typing import Any, Final

import msgspec

PATH: Final = "/marline/v1/apply"


class ApplyRequest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Objects in the order in which they are applied; one may be in a namespace that comes before it."""

    objects: tuple[dict[str, Any], ...]
    field_manager: str
    force: bool = False


class ApplyAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """What the objects are now, in the order of the request."""

    objects: tuple[msgspec.Raw, ...]
