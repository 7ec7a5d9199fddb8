"""RequestAuthentications by namespace, and the key sets that they want, fetched or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from marline.api.resource import Ref, Resource
from marline.api.security.request_authentication import RequestAuthenticationSpec
from marline.mesh.overlay import Groups, Overlay
from marline.mesh.token_keys import FetchedKeys, KeySource, key_sources
from marline.mesh.visibility import age

REQUEST_AUTHENTICATION: Final = ("security.istio.io", "RequestAuthentication")
Policy = Resource[RequestAuthenticationSpec]


@dataclass(frozen=True, slots=True, eq=False)
class TokenPolicies:
    policies: Mapping[str, tuple[Policy, ...]] = field(default_factory=dict)
    """By namespace, oldest first."""
    wanting: Mapping[KeySource, frozenset[Ref]] = field(default_factory=dict)
    """Policies by where their keys come from."""
    keys: Mapping[KeySource, str] = field(default_factory=dict)
    """The key sets that were fetched, as far as some policy wants them."""


class TokenPoliciesDraft:
    """Those that are being changed."""

    def __init__(self, base: TokenPolicies) -> None:
        self._policies = Overlay(base.policies)
        self._wanting = Groups(base.wanting)
        self._keys = Overlay(base.keys)

    def replace(self, ref: Ref, old: Policy | None, new: Policy | None) -> None:
        others = [item for item in self._policies.get(ref.namespace) or () if item.ref != ref]
        if new is not None:
            others.append(new)
        if others:
            self._policies.put(ref.namespace, tuple(sorted(others, key=age)))
        else:
            self._policies.drop(ref.namespace)
        for source in key_sources(new) if new is not None else ():
            self._wanting.add(source, ref)
        kept = set(key_sources(new)) if new is not None else set()
        for source in key_sources(old) if old is not None else ():
            if source not in kept:
                self._wanting.remove(source, ref)
                if not self._wanting.get(source):
                    self._keys.drop(source)

    def fetched(self, keys: FetchedKeys) -> frozenset[Ref]:
        """Keep a key set, if it is new and some policy wants it; returns the policies that do."""
        wanting = frozenset(self._wanting.get(keys.source))
        if not wanting or self._keys.get(keys.source) == keys.document:
            return frozenset()
        self._keys.put(keys.source, keys.document)
        return wanting

    def finish(self) -> TokenPolicies:
        return TokenPolicies(self._policies.table(), self._wanting.table(), self._keys.table())
