"""A rule of an AuthorizationPolicy as a policy of Envoy's RBAC filters: permissions and principals.

Envoy's documentation, "Role Based Access Control": a policy matches if one of its permissions (what is
called) and one of its principals (who calls) does. What the place where a connection arrives decides is
decided here: its port, and whether a caller has an identity at all.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from envoy.config.rbac.v3 import rbac_pb2

from marline.api.security.authorization_rule import Condition, Operation, Rule, Source
from marline.api.security.condition_keys import (
    FILTER_METADATA,
    REQUEST_CLAIMS,
    REQUEST_HEADERS,
    SERVER_NAME,
    ConditionKey,
    condition_key,
)
from marline.compile.authorization_matchers import (
    TrustDomains,
    address_range,
    header_matcher,
    metadata_matcher,
    path_matcher,
    principal_matcher,
    text_matcher,
    token_principal_matchers,
)
from marline.compile.request_authentication import claim_matcher


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of connections where a rule is asked."""

    http: bool
    """They carry requests, one by one."""
    identified: bool
    """Their clients may have shown a certificate that was verified."""
    ports: tuple[int, ...] = ()
    """The numbers by which policies know the port; none: connections to any port arrive."""


_OF_CONNECTIONS: Final = ("destination.", "connection.", FILTER_METADATA)
"""What begins the keys that are about what is called; the others are about who calls."""
_EXPERIMENTAL: Final = "experimental."
Term = Any
"""A permission or a principal, or True (any) or False (none)."""


@dataclass(frozen=True, slots=True)
class _Side:
    """The two kinds of terms are put together alike, but their messages name it differently."""

    message: Any
    conjunction: str
    disjunction: str
    negation: str

    def every(self, terms: Iterable[Term]) -> Term:
        left = [term for term in terms if term is not True]
        if any(term is False for term in left):
            return False
        return self._joined(self.conjunction, left) if left else True

    def some(self, terms: Iterable[Term]) -> Term:
        left = [term for term in terms if term is not False]
        if any(term is True for term in left):
            return True
        return self._joined(self.disjunction, left) if left else False

    def inverse(self, term: Term) -> Term:
        return not term if isinstance(term, bool) else self.message(**{self.negation: term})

    def _joined(self, how: str, terms: list[Any]) -> Any:
        if len(terms) == 1:
            return terms[0]
        made = self.message()
        joined = getattr(made, how)
        (joined.rules if self is PERMISSION else joined.ids).extend(terms)
        return made

    def stated(self, terms: Iterable[Term]) -> list[Any]:
        """Alternatives as Envoy wants them."""
        found = self.some(terms)
        if isinstance(found, bool):
            return [self.message(any=True)] if found else []
        alternatives = getattr(found, self.disjunction)
        parts = alternatives.rules if self is PERMISSION else alternatives.ids
        return list(parts) or [found]


PERMISSION: Final = _Side(rbac_pb2.Permission, "and_rules", "or_rules", "not_rule")
PRINCIPAL: Final = _Side(rbac_pb2.Principal, "and_ids", "or_ids", "not_id")


@dataclass(frozen=True, slots=True)
class _Test:
    """One field of a rule: what a value of it means, and the values of it and of its negation."""

    side: _Side
    meaning: Callable[[str], Term]
    values: tuple[str, ...]
    others: tuple[str, ...]
    http: bool = False
    """It is about requests."""

    @property
    def term(self) -> Term:
        found = self.side.some(map(self.meaning, self.values)) if self.values else True
        refused = self.side.some(map(self.meaning, self.others)) if self.others else False
        return self.side.every((found, self.side.inverse(refused)))


def rule_policy(
    rule: Rule, namespace: str, trust_domains: TrustDomains, arrival: Arrival, *, narrows: bool
) -> Any | None:
    """Envoy's policy for one rule of a policy of a namespace; None: it matches nothing where it is asked.

    `narrows`: what it does not match is refused. Then it counts as a whole or not at all; else what is about
    requests is left out where there are none, so that it matches more.
    """
    words = _Words(namespace, trust_domains, arrival)
    sources = [words.source(item.source) for item in rule.from_ if item.source] or [[]]
    operations = [words.operation(item.operation) for item in rule.to if item.operation] or [[]]
    conditions = [words.condition(item) for item in rule.when]
    if not arrival.http:
        written = (test for tests in (*sources, *operations, conditions) for test in tests)
        if narrows and any(test.http for test in written):
            return None
        sources, operations = _of_connections(sources), _of_connections(operations)
        (conditions,) = _of_connections([conditions])
    made = rbac_pb2.Policy(
        permissions=_alternatives(PERMISSION, operations, conditions),
        principals=_alternatives(PRINCIPAL, sources, conditions),
    )
    return made if made.permissions and made.principals else None


def _of_connections(alternatives: list[list[_Test]]) -> list[list[_Test]]:
    return [[test for test in tests if not test.http] for tests in alternatives]


def _alternatives(side: _Side, parts: list[list[_Test]], conditions: list[_Test]) -> list[Any]:
    common = [test for test in conditions if test.side is side]
    return side.stated(side.every(test.term for test in (*tests, *common)) for tests in parts)


@dataclass(frozen=True, slots=True)
class _Words:
    """What the words of a rule mean where it is asked."""

    namespace: str
    trust_domains: TrustDomains
    arrival: Arrival

    def source(self, item: Source) -> list[_Test]:
        return _written(
            _Test(PRINCIPAL, self._principal, item.principals, item.not_principals),
            _Test(
                PRINCIPAL, _token_principal, item.request_principals, item.not_request_principals, http=True
            ),
            _Test(PRINCIPAL, self._namespace, item.namespaces, item.not_namespaces),
            _Test(PRINCIPAL, self._service_account, item.service_accounts, item.not_service_accounts),
            _Test(PRINCIPAL, _direct_address, item.ip_blocks, item.not_ip_blocks),
            _Test(PRINCIPAL, _client_address, item.remote_ip_blocks, item.not_remote_ip_blocks),
        )

    def operation(self, item: Operation) -> list[_Test]:
        return _written(
            _Test(PERMISSION, _host, item.hosts, item.not_hosts, http=True),
            _Test(PERMISSION, self._port, item.ports, item.not_ports),
            _Test(PERMISSION, _method, item.methods, item.not_methods, http=True),
            _Test(PERMISSION, _path, item.paths, item.not_paths, http=True),
        )

    def condition(self, item: Condition) -> _Test:
        key = condition_key(item.key)
        if key is None:
            raise ValueError(f"{item.key!r} is no key of conditions")
        side = PERMISSION if key.attribute.startswith(_OF_CONNECTIONS) else PRINCIPAL
        http = key.attribute.startswith("request.")
        return _Test(side, self._meaning(key), item.values, item.not_values, http)

    def _meaning(self, key: ConditionKey) -> Callable[[str], Term]:
        if key.attribute == REQUEST_HEADERS:
            return partial(_header, key.names[0])
        if key.attribute == REQUEST_CLAIMS:
            return partial(_claim, key.names)
        if key.attribute.startswith(FILTER_METADATA):
            return partial(_metadata, key.attribute.removeprefix(_EXPERIMENTAL), key.names[0])
        own = {
            "source.principal": self._principal,
            "source.namespace": self._namespace,
            "source.serviceAccount": self._service_account,
            "destination.port": self._port,
        }
        return own.get(key.attribute) or _MEANINGS[key.attribute]

    def _principal(self, value: str) -> Term:
        meant = self.trust_domains.principals(value)
        return PRINCIPAL.some(self._identity(principal_matcher(item)) for item in meant)

    def _namespace(self, value: str) -> Term:
        return self._identity(self.trust_domains.namespace(value))

    def _service_account(self, value: str) -> Term:
        return self._identity(self.trust_domains.service_account(value, self.namespace))

    def _identity(self, matcher: Any) -> Term:
        """Envoy asks for the names in the client's certificate, URIs first."""
        if not self.arrival.identified:
            return False
        made = rbac_pb2.Principal()
        made.authenticated.principal_name.CopyFrom(matcher)
        return made

    def _port(self, value: str) -> Term:
        if self.arrival.ports:
            return int(value) in self.arrival.ports
        return rbac_pb2.Permission(destination_port=int(value))


def _written(*tests: _Test) -> list[_Test]:
    return [test for test in tests if test.values or test.others]


def _token_principal(value: str) -> Term:
    alternatives = token_principal_matchers(value)
    return PRINCIPAL.some(
        PRINCIPAL.every(_of_metadata(PRINCIPAL, claim) for claim in claims) for claims in alternatives
    )


def _claim(names: tuple[str, ...], value: str) -> Term:
    return _of_metadata(PRINCIPAL, claim_matcher(names, text_matcher(value)))


def _metadata(filter_name: str, key: str, value: str) -> Term:
    return _of_metadata(PERMISSION, metadata_matcher(filter_name, key, value))


def _of_metadata(side: _Side, matcher: Any) -> Term:
    made = side.message()
    made.sourced_metadata.metadata_matcher.CopyFrom(matcher)
    return made


def _direct_address(value: str) -> Term:
    return rbac_pb2.Principal(direct_remote_ip=address_range(value))


def _client_address(value: str) -> Term:
    return rbac_pb2.Principal(remote_ip=address_range(value))


def _header(name: str, value: str) -> Term:
    return rbac_pb2.Principal(header=header_matcher(name, value))


def _host(value: str) -> Term:
    return rbac_pb2.Permission(header=header_matcher(":authority", value, ignore_case=True))


def _method(value: str) -> Term:
    return rbac_pb2.Permission(header=header_matcher(":method", value))


def _path(value: str) -> Term:
    return rbac_pb2.Permission(url_path=path_matcher(value))


def _own_address(value: str) -> Term:
    return rbac_pb2.Permission(destination_ip=address_range(value))


def _server_name(value: str) -> Term:
    return rbac_pb2.Permission(requested_server_name=text_matcher(value))


_MEANINGS: Final[dict[str, Callable[[str], Term]]] = {
    "source.ip": _direct_address,
    "remote.ip": _client_address,
    "request.auth.principal": _token_principal,
    "request.auth.audiences": partial(_claim, ("aud",)),
    "request.auth.presenter": partial(_claim, ("azp",)),
    "destination.ip": _own_address,
    SERVER_NAME: _server_name,
}
