"""Makes AuthorizationPolicies, and calls that they may match, at random: values come from small pools, so
that each is met and missed often."""

import random
from typing import Any

from documented_authorization import Call

CALLERS = (
    "cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/web-admin", "cluster.local/ns/test-1/sa/web",
    "cluster.local/ns/other/sa/jobs",
)  # fmt: skip
PORTS = (9080, 7000)
"""That carry requests, and that do not."""
TOKENS: tuple[dict[str, Any], ...] = (
    {"iss": "issuer", "sub": "ann", "aud": ["shop", "admin"], "azp": "app", "realm": {"groups": ["a", "b"]}},
    {"iss": "issuer", "sub": "bob", "aud": "shop", "tier": "gold"},
    {
        "iss": "https://ids.example.com/x",
        "sub": "ann",
        "aud": "other",
        "azp": "web",
        "realm": {"groups": "a"},
    },
)
SERVER_NAMES = ("outbound_.9080_._.reviews.mesh.marline", "w1.mesh.marline")
_VALUES: dict[str, tuple[str, ...]] = {
    "principals": (*CALLERS, "*", "cluster.local/ns/shop/*", "*/sa/web", "*-admin",
                   "other.example/ns/shop/sa/web"),
    "requestPrincipals": ("issuer/ann", "issuer/*", "*", "*ann", "*/bob", "iss*", "https://ids.example.com/x/ann",
                          "https://ids*", "nobody"),
    "namespaces": ("shop", "test-*", "*-1", "*", "sho", "other"),
    "serviceAccounts": ("web", "shop/web", "other/jobs", "web-admin", "test-1/web"),
    "ipBlocks": ("127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "0.0.0.0/0"),
    "remoteIpBlocks": ("127.0.0.1", "192.0.2.0/24", "192.0.2.7", "10.0.0.0/8"),
    "hosts": ("shop.example.com", "*.example.com", "SHOP*", "*", "shop.example.com:8080", "example.com"),
    "ports": ("9080", "7000", "1"),
    "methods": ("GET", "POST", "P*", "*T", "*"),
    "paths": ("/", "/admin", "/admin/*", "*.js", "/a/{*}/c", "/a/{**}", "/{*}/b/{**}", "*", "/a/b*"),
}  # fmt: skip
_CONDITIONS: dict[str, tuple[str, ...]] = {
    "request.headers[x-user]": ("ann", "a*", "*b", "*", "bob"),
    "request.auth.principal": _VALUES["requestPrincipals"],
    "request.auth.audiences": ("shop", "admin", "s*", "*r", "*"),
    "request.auth.presenter": ("app", "w*", "*"),
    "request.auth.claims[tier]": ("gold", "*", "s*"),
    "request.auth.claims[realm][groups]": ("a", "b", "*", "c"),
    "source.ip": _VALUES["ipBlocks"],
    "remote.ip": _VALUES["remoteIpBlocks"],
    "source.namespace": _VALUES["namespaces"],
    "source.principal": _VALUES["principals"],
    "source.serviceAccount": _VALUES["serviceAccounts"],
    "destination.ip": ("127.0.0.1", "10.0.0.0/8"),
    "destination.port": _VALUES["ports"],
    "connection.sni": ("*.mesh.marline", "w1.mesh.marline", "outbound*", "*"),
}
SOURCE = ("principals", "requestPrincipals", "namespaces", "serviceAccounts", "ipBlocks", "remoteIpBlocks")
OPERATION = ("hosts", "ports", "methods", "paths")
PATHS = ("/", "/admin", "/admin/x", "/a/b/c", "/a/x/c", "/a/b", "/a", "/a/", "/x/b/y", "/lib/code.js",
         "/a/x*y/c", "/a/q|r/c", "/a/b/c?x=/admin")  # fmt: skip
HOSTS = ("shop.example.com", "Shop.Example.com", "shop.example.com:8080", "example.com", "other")
HEADERS = ((), (("x-user", "ann"),), (("x-user", "bob"),), (("x-user", "a"), ("x-user", "b")))
FORWARDED = ("", "192.0.2.7", "10.1.1.1, 192.0.2.9")


class Maker:
    """Makes the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def policy(self, name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
        action = self._random.choice(("ALLOW", "ALLOW", "DENY"))
        rules = [self._rule() for _ in range(self._random.choice((0, 1, 1, 2, 3)))]
        spec: dict[str, Any] = {"action": action, "selector": {"matchLabels": labels}}
        spec["rules"] = rules or ([{}] if action == "DENY" else [])
        return {
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        }  # fmt: skip

    def _rule(self) -> dict[str, Any]:
        choice, rule = self._random.choice, dict[str, Any]()
        if sources := [self._fields(SOURCE) for _ in range(choice((0, 1, 1, 2)))]:
            rule["from"] = [{"source": item} for item in sources]
        if operations := [self._fields(OPERATION) for _ in range(choice((0, 1, 1, 2)))]:
            rule["to"] = [{"operation": item} for item in operations]
        if conditions := [self._condition() for _ in range(choice((0, 0, 1, 2)))]:
            rule["when"] = conditions
        return rule

    def _fields(self, names: tuple[str, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in self._random.sample(names, self._random.choice((1, 1, 2))):
            if name == "serviceAccounts" and made:
                continue
            made[self._negated(name)] = self._some(_VALUES[name])
            if name == "serviceAccounts":
                break
        return made

    def _negated(self, name: str) -> str:
        return name if self._random.random() < 0.7 else f"not{name[0].upper()}{name[1:]}"

    def _condition(self) -> dict[str, Any]:
        key = self._random.choice(list(_CONDITIONS))
        return {"key": key, self._negated("values"): self._some(_CONDITIONS[key])}

    def _some(self, values: tuple[str, ...]) -> list[str]:
        return self._random.sample(values, self._random.choice((1, 1, 2)))

    def connection(self, caller: str, server_name: str) -> Call:
        return Call(PORTS[1], caller, server_name=server_name)

    def request(self, caller: str, server_name: str) -> tuple[Call, str, dict[str, Any] | None]:
        """A request, the `X-Forwarded-For` that it has, and the claims of its token."""
        choice = self._random.choice
        token, forwarded, path = choice((None, None, *TOKENS)), choice(FORWARDED), choice(PATHS)
        client = forwarded.rpartition(" ")[2] or "127.0.0.1"
        call = Call(
            PORTS[0], caller, client=client, server_name=server_name, method=choice(("GET", "POST", "PUT")),
            host=choice(HOSTS), path=path.partition("?")[0], headers=choice(HEADERS), claims=token or {},
        )  # fmt: skip
        return call, path, token
