"""What an AuthorizationPolicy's texts match: patterns, identities, paths, tokens, addresses."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.core.v3 import address_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import metadata_pb2, path_pb2, string_pb2

from marline.api.security.authorization_rules import is_template
from marline.compile.request_authentication import claim_matcher

POINTER: Final = "cluster.local"
"""In a policy this means the mesh's trust domain, whatever it is called, and its aliases (istio.io, "Trust
Domain Migration")."""
_SPIFFE: Final = "spiffe://"
_ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class TrustDomains:
    """The names that the mesh's trust domain has, or had."""

    own: str = POINTER
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.own, *self.aliases)))

    def identities(self, path: str) -> Any:
        """A matcher of SPIFFE IDs of any of the names, whose paths fit an expression. Those of other trust
        domains, with which the mesh may be federated, are none of its namespaces and service accounts: they
        are named by principals alone."""
        names = "|".join(re.escape(name) for name in self.names)
        return regex_matcher(f"{re.escape(_SPIFFE)}({names}){path}")

    def namespace(self, pattern: str) -> Any:
        """A matcher of identities of a namespace."""
        name = "[^/]*".join(re.escape(part) for part in pattern.split(_ANY))
        return self.identities(f"/ns/{name}/.*")

    def service_account(self, written: str, namespace: str) -> Any:
        """A matcher of `<namespace>/<name>`, or of a name in the policy's namespace."""
        place, _, name = written.rpartition("/")
        return self.identities(f"/ns/{re.escape(place or namespace)}/sa/{re.escape(name)}")

    def principals(self, written: str) -> Iterator[str]:
        """What a principal in a policy means: the same in each of the trust domain's names."""
        domain, slash, rest = written.partition("/")
        names = self.names
        if not slash or domain == _ANY:
            yield written
            return
        meant = [name for name in names if _fits(domain, name)]
        if not meant and domain != POINTER:
            yield written
            return
        if meant and _ANY in domain:
            yield written
            names = tuple(name for name in names if name not in meant)
        yield from (f"{name}/{rest}" for name in names)


THE_MESH: Final = TrustDomains()


def _fits(pattern: str, name: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith(_ANY) else name == pattern


def text_matcher(pattern: str, *, before: str = "", ignore_case: bool = False) -> Any:
    """Exact, `abc*`, `*abc`, or `*` for any text that is not empty; `before` is a text that always precedes.
    Any other `*` is itself."""
    made = string_pb2.StringMatcher(ignore_case=ignore_case)
    if pattern == _ANY:
        return regex_matcher(f"{re.escape(before)}.+")
    if pattern.startswith(_ANY) and before:
        return regex_matcher(f"{re.escape(before)}.*{re.escape(pattern[1:])}")
    if pattern.startswith(_ANY):
        made.suffix = pattern[1:]
    elif pattern.endswith(_ANY):
        made.prefix = before + pattern[:-1]
    else:
        made.exact = before + pattern
    return made


def regex_matcher(expression: str) -> Any:
    """The whole of a text must fit."""
    made = string_pb2.StringMatcher()
    made.safe_regex.regex = expression
    return made


def principal_matcher(pattern: str) -> Any:
    """A SPIFFE ID without its scheme."""
    return text_matcher(pattern, before=_SPIFFE)


def path_matcher(pattern: str) -> Any:
    """A path without its query. Of a template each operator is a segment or, at last, any number of them.

    Envoy has a matcher for templates of its own, which Istio uses. There an operator stands for the
    characters that RFC 3986 allows in a segment, so that one with `*` or `|`, which Envoy lets pass, would go
    around a DENY policy; here it stands for all but a slash.
    """
    if not is_template(pattern):
        return path_pb2.PathMatcher(path=text_matcher(pattern))
    operators = {"{*}": "[^/]+", "{**}": ".*"}
    segments = (operators.get(segment) or re.escape(segment) for segment in pattern.split("/"))
    return path_pb2.PathMatcher(path=regex_matcher("/".join(segments)))


def header_matcher(name: str, pattern: str, *, ignore_case: bool = False) -> Any:
    """A header's value; `*`: there is one, whatever its value."""
    made = route_components_pb2.HeaderMatcher(name=name)
    if pattern == _ANY:
        made.present_match = True
    else:
        made.string_match.CopyFrom(text_matcher(pattern, ignore_case=ignore_case))
    return made


def address_range(block: str) -> Any:
    """An address, or a CIDR block."""
    network = ipaddress.ip_network(block, strict=False)
    made = address_pb2.CidrRange(address_prefix=str(network.network_address))
    made.prefix_len.value = network.prefixlen
    return made


def token_principal_matchers(pattern: str) -> tuple[tuple[Any, Any], ...]:
    """Of `<iss>/<sub>`, as alternatives: what fits the issuer and what the subject. The last slash is between
    both; a pattern without one is about the issuer, or if it begins with `*` about the subject. One such as
    `https://issuer*` may also be about the issuer alone."""
    issuer, slash, subject = pattern.rpartition("/")
    anything = text_matcher(_ANY)
    if pattern == _ANY:
        return (_claims(anything, anything),)
    if pattern.startswith(_ANY):
        if not slash:
            return (_claims(anything, text_matcher(pattern)),)
        return (_claims(text_matcher(issuer), _exact(subject)),)
    if not pattern.endswith(_ANY):
        return (_claims(_exact(issuer), _exact(subject)),) if slash else ()
    of_issuer = () if subject == _ANY else (_claims(text_matcher(pattern), anything),)
    return (*((_claims(_exact(issuer), text_matcher(subject)),) if slash else ()), *of_issuer)


def _claims(issuer: Any, subject: Any) -> tuple[Any, Any]:
    return claim_matcher(("iss",), issuer), claim_matcher(("sub",), subject)


def _exact(text: str) -> Any:
    return string_pb2.StringMatcher(exact=text)


def metadata_matcher(name: str, key: str, pattern: str) -> Any:
    """What an Envoy filter has put under a key of its metadata: a text, or for `[text]` a list with it."""
    made = metadata_pb2.MetadataMatcher(filter=name)
    made.path.add(key=key)
    if pattern.startswith("[") and pattern.endswith("]"):
        made.value.list_match.one_of.string_match.CopyFrom(text_matcher(pattern[1:-1]))
    else:
        made.value.string_match.CopyFrom(text_matcher(pattern))
    return made
