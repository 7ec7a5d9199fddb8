"""ProxyConfig: how the Envoys of workloads are started (istio.io, "ProxyConfig" reference).

It counts when an Envoy starts, or starts again: running ones keep what they were started with, as in Istio.
"""

import re
from typing import Annotated, Final

from msgspec import Meta

from marline.api import rules
from marline.api.faults import Faults
from marline.api.model import Model, Selector
from marline.api.refusals import Refusals
from marline.api.resource import Resource

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOADER: Final = "LD_"
_NODE_METADATA: Final = "ISTIO_META_"


class ProxyImage(Model, frozen=True):
    image_type: str = ""


class ProxyConfigSpec(Model, frozen=True):
    """Without a selector it is for the namespace; in the root namespace for the whole mesh."""

    selector: Selector | None = None
    concurrency: Annotated[int, Meta(ge=0, le=1024)] | None = None
    """Worker threads; 0: one for each core."""
    environment_variables: dict[str, str] = {}
    image: ProxyImage | None = None


REFUSED: Final[Refusals] = {
    "image": "every proxy is the Envoy that is installed with Marline; there are no images",
}


def validate(resource: Resource[ProxyConfigSpec], faults: Faults) -> None:
    """Istio's rules for a ProxyConfig."""
    spec = resource.spec
    if spec.selector:
        rules.labels(spec.selector.match_labels, faults.at("selector").at("matchLabels"))
    for name, value in spec.environment_variables.items():
        where = faults.at("environmentVariables").key(name)
        if not _VARIABLE.fullmatch(name):
            where.add(f"{name!r} is not the name of a variable: letters, digits and '_'")
        if "\0" in value:
            where.add("has a NUL character, which no environment can carry")
        if name.startswith(_LOADER):
            where.add("would load other code into the proxy; it is not for a configuration to say")
        if name.startswith(_NODE_METADATA):
            where.unsupported("is not acted on: a proxy's metadata is what its application file says")
