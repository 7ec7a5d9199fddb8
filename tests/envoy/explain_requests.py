"""Rules and requests made by chance, of values that meet each other often."""

import random
from typing import Any

from marline.api.decode import admit
from marline.api.errors import InvalidResource
from marline.api.resource import Resource
from marline.explain.request import Request

PATHS = (
    "/", "/a", "/a/", "/a/b", "/ab", "/A/b", "/a/b/../c", "/%61/b", "/a%2fb", "/a//b", "/b\\c", "/x'{y}|z",
)  # fmt: skip
QUERIES = ("", "?", "?q=1", "?q=2&r", "?r&q=1&q=2", "?q", "?q=a%20b", "?x=/..")
WORDS = ("jason", "j", "json", "", "Jason", "jas on")
PATTERNS = ("j.*", "(?i)JASON", "j(a|s)+on", "[^j]*", "ja?son$", ".*")
PATH_PATTERNS = ("/a.*", "/(a|b)/?", "/[a-z]+/b", "(?i)/A/B", "/a/[^/]*", ".*b$")
METHODS = ("GET", "POST", "OPTIONS", "PUT")
BACKENDS = ("one", "two", "three")
PARTS = ("/", "/new", "/new/", "/a")


class Draw:
    """The same for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def of(self, values: tuple[Any, ...]) -> Any:
        return self._random.choice(values)

    def likely(self, chance: float) -> bool:
        return self._random.random() < chance

    def match_of(self, values: tuple[str, ...], patterns: tuple[str, ...]) -> dict[str, str]:
        kind = self.of(("exact", "prefix", "regex"))
        return {kind: self.of(patterns if kind == "regex" else values)}

    def condition(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if self.likely(0.6):
            made["uri"] = self.match_of(PATHS[:8], PATH_PATTERNS)
            made |= {"ignoreUriCase": True} if self.likely(0.3) else {}
        if self.likely(0.4):
            made["headers"] = {self.of(("user", "team")): self.match_of(WORDS, PATTERNS)}
        if self.likely(0.25):
            made["withoutHeaders"] = {self.of(("user", "team")): self.match_of(WORDS, PATTERNS)}
        if self.likely(0.25):
            made["queryParams"] = {self.of(("q", "r")): self.match_of(("1", "2", "a%20b"), ("[0-9]", ".*"))}
        if self.likely(0.2):
            made["method"] = {"exact": self.of(METHODS)}
        if self.likely(0.1):
            made["authority"] = {"prefix": self.of(("host", "other"))}
        return made or {"uri": {"prefix": "/a"}}

    def rule(self, *, last: bool) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if not last:
            made["match"] = [self.condition() for _ in range(self.of((1, 1, 2)))]
        action = self.of(("route", "route", "route", "redirect", "directResponse"))
        if action == "redirect":
            made[action] = self.redirect()
        elif action == "directResponse":
            made[action] = {"status": self.of((200, 404, 503)), "body": {"string": "said"}}
        else:
            made[action] = self.destinations()
            made |= {"rewrite": self.rewrite()} if self.likely(0.5) else {}
        if self.likely(0.15):
            share = {"value": self.of((0, 100))}
            made["fault"] = {"abort": {"httpStatus": self.of((418, 555)), "percentage": share}}
        if self.likely(0.2):
            made["corsPolicy"] = self.cors()
        return made

    def destinations(self) -> list[dict[str, Any]]:
        chosen = self._random.sample(BACKENDS, self.of((1, 1, 2)))
        weights = self.of(((100, 0), (30, 70), (0, 1)))
        headers = {"headers": {"request": {"set": {"host": "set.example"}}}} if self.likely(0.2) else {}
        return [
            {"destination": {"host": name}, "weight": weight, **headers}
            for name, weight in zip(chosen, weights, strict=False)
        ]

    def rewrite(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if self.likely(0.5):
            made["uri"] = self.of(PARTS)
        elif self.likely(0.7):
            pair = self.of(((r"^/a(.*)", r"/z\1"), (r"[ab]", "<>"), (r"/([^/]*)", r"/\1-\0"), (r"a*", "/")))
            made["uriRegexRewrite"] = {"match": pair[0], "rewrite": pair[1]}
        if self.likely(0.4) or not made:
            made["authority"] = "rewritten.example"
        return made

    def redirect(self) -> dict[str, Any]:
        made: dict[str, Any] = {"redirectCode": self.of((301, 302, 307, 308))}
        uris = ("/to", "/to?own=1", "%PREFIX()%/p", "%PREFIX()%/p/")
        made |= {"uri": self.of(uris)} if self.likely(0.6) else {}
        made |= {"authority": self.of(("to.example", "to.example:99"))} if self.likely(0.5) else {}
        made |= {"scheme": self.of(("https", "http"))} if self.likely(0.4) else {}
        made |= {"port": 444} if self.likely(0.3) else {}
        return made

    def cors(self) -> dict[str, Any]:
        made: dict[str, Any] = {"allowOrigins": [self.match_of(("https://a", "https://b"), ("https://.*",))]}
        made |= {"allowMethods": ["GET"]}
        return made | ({"unmatchedPreflights": self.of(("IGNORE", "FORWARD"))} if self.likely(0.5) else {})

    def virtual_service(self) -> Resource[Any] | None:
        """None if it is refused."""
        count = self.of((1, 2, 3, 4))
        rules = [self.rule(last=index == count - 1 and self.likely(0.5)) for index in range(count)]
        head = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
        metadata = {"name": "it", "namespace": "default"}
        try:
            return admit({**head, "metadata": metadata, "spec": {"hosts": ["reviews"], "http": rules}})
        except InvalidResource:
            return None

    # The Gateway API's

    def api_match(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if self.likely(0.7):
            kind = self.of(("Exact", "PathPrefix", "RegularExpression"))
            values = PATH_PATTERNS if kind == "RegularExpression" else ("/", "/a", "/a/", "/a/b", "/A/b")
            made["path"] = {"type": kind, "value": self.of(values)}
        if self.likely(0.4):
            made["headers"] = [self.api_value(self.of(("user", "team")), WORDS[:3], PATTERNS)]
        if self.likely(0.2):
            made["queryParams"] = [self.api_value(self.of(("q", "r")), ("1", "2"), ("[0-9]", ".*"))]
        if self.likely(0.2):
            made["method"] = self.of(METHODS)
        return made

    def api_value(self, name: str, values: tuple[str, ...], patterns: tuple[str, ...]) -> dict[str, Any]:
        kind = self.of(("Exact", "RegularExpression"))
        return {"name": name, "type": kind, "value": self.of(values if kind == "Exact" else patterns)}

    def api_change(self) -> dict[str, Any]:
        kind, name = self.of(
            (("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch"))
        )
        return {"type": kind, name: self.of(("/", "/new", "/new/"))}

    def api_filters(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if self.likely(0.5):
            rewrite = {"hostname": "rewritten.example"} if self.likely(0.5) else {}
            rewrite |= {"path": self.api_change()} if self.likely(0.7) or not rewrite else {}
            found.append({"type": "URLRewrite", "urlRewrite": rewrite})
        if self.likely(0.3):
            policy = {"allowOrigins": [self.of(("https://a", "https://b", "*"))], "allowMethods": ["GET"]}
            found.append({"type": "CORS", "cors": policy})
        return found

    def api_rule(self) -> dict[str, Any]:
        made: dict[str, Any] = {"matches": [self.api_match() for _ in range(self.of((1, 1, 2)))]}
        if self.likely(0.25):
            redirect: dict[str, Any] = {"statusCode": self.of((301, 302, 307, 308))}
            redirect |= {"scheme": self.of(("http", "https"))} if self.likely(0.5) else {}
            redirect |= {"hostname": "to.example"} if self.likely(0.5) else {}
            redirect |= {"port": self.of((80, 444))} if self.likely(0.3) else {}
            redirect |= {"path": self.api_change()} if self.likely(0.5) else {}
            return made | {"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}
        names = self._random.sample((*BACKENDS, "missing"), self.of((1, 2, 3)))
        backends = [
            {"name": name, "port": 1, "weight": self.of((0, 1, 5)), "filters": self.backend_filters()}
            for name in names
        ]
        return made | {"filters": self.api_filters(), "backendRefs": backends}

    def backend_filters(self) -> list[dict[str, Any]]:
        """Those of one backend: Envoy needs a route for each of such."""
        if not self.likely(0.15):
            return []
        return [{"type": "URLRewrite", "urlRewrite": {"path": self.api_change()}}]

    def http_route(self) -> Resource[Any] | None:
        """None if it is refused."""
        rules = [self.api_rule() for _ in range(self.of((1, 2, 3)))]
        head = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
        spec = {"parentRefs": [{"name": "gateway"}], "rules": rules}
        try:
            return admit({**head, "metadata": {"name": "it", "namespace": "default"}, "spec": spec})
        except InvalidResource:
            return None

    def request(self, authority: str) -> Request:
        headers = []
        for name in ("user", "team"):
            if self.likely(0.5):
                headers.append((name, self.of(WORDS)))
        if self.likely(0.3):
            headers.append(("origin", self.of(("https://a", "https://b", "https://c"))))
            headers.append(("access-control-request-method", "GET"))
        host = self.of((authority, f"{authority}:9080", f"{authority}:80", authority.upper()))
        return Request(host, self.of(METHODS), self.of(PATHS) + self.of(QUERIES), headers=tuple(headers))
