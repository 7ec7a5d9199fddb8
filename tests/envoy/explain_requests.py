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
