"""`reviews`: what readers say of a book; v2 and v3 also ask `ratings` for stars, black or red ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marline.samples.bookinfo.calls import CallFailed, get_json, propagated
from marline.samples.server import Request, Response, error_response, json_response

_OK: Final = 200
_RATINGS_SECONDS: Final = {"black": 10.0, "red": 2.5}
"""As in Istio: v2 waits longer for its ratings than `productpage` waits for it, which its task "Fault
Injection" finds, and v3 does not."""
_TEXTS: Final = (
    ("Reviewer1", "A farce at full speed: two pairs of twins, one dinner, and nobody who knows whom he met."),
    ("Reviewer2", "Light and very funny, if you do not ask for more depth than a comedy of doors can have."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Which of the three versions it is."""

    version: str
    ratings: bool
    star_color: str
    name: str
    """Of this instance, shown as `podname`."""


def settings(environment: Mapping[str, str]) -> Settings:
    """From `SERVICE_VERSION`, `ENABLE_RATINGS` and `STAR_COLOR`. Raises ValueError."""
    enabled = environment.get("ENABLE_RATINGS", "false")
    color = environment.get("STAR_COLOR", "black")
    if enabled not in ("true", "false"):
        raise ValueError(f"ENABLE_RATINGS is {enabled!r}; expected true or false")
    if color not in _RATINGS_SECONDS:
        raise ValueError(f"STAR_COLOR is {color!r}; expected {' or '.join(_RATINGS_SECONDS)}")
    version = environment.get("SERVICE_VERSION", "v1")
    name = environment.get("MARLINE_WORKLOAD") or environment.get("HOSTNAME") or f"reviews-{version}"
    return Settings(version, enabled == "true", color, name)


@dataclass(frozen=True, slots=True)
class Reviews:
    """Answers for one version."""

    settings: Settings
    ratings_url: str

    def answer(self, request: Request) -> Response:
        """`/reviews/ID` and `/health`."""
        match request.segments:
            case ["health"]:
                return json_response({"status": "Reviews is healthy"})
            case ["reviews", number]:
                if not number.isascii() or not number.isdigit():
                    return error_response(400, "please provide numeric product id")
                return json_response(self._reviews(number, request))
        return error_response(404, "not found")

    def _reviews(self, number: str, request: Request) -> dict[str, Any]:
        given = self._ratings(number, request) if self.settings.ratings else None
        return {
            "id": number,
            "podname": self.settings.name,
            "clustername": self.settings.version,
            "reviews": [self._review(who, text, given) for who, text in _TEXTS],
        }

    def _review(self, reviewer: str, text: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
        review: dict[str, Any] = {"reviewer": reviewer, "text": text}
        if not self.settings.ratings:
            return review
        if given is None:
            return review | {"rating": {"error": "Ratings service is currently unavailable"}}
        return review | {"rating": {"stars": given.get(reviewer, 0), "color": self.settings.star_color}}

    def _ratings(self, number: str, request: Request) -> Mapping[str, Any] | None:
        """Stars by reviewer; None if they cannot be had, which is no reason to have no reviews."""
        timeout = _RATINGS_SECONDS[self.settings.star_color]
        try:
            status, body = get_json(
                f"{self.ratings_url}/ratings/{number}", propagated(request.headers), timeout
            )
        except CallFailed:
            return None
        found = body.get("ratings") if status == _OK and isinstance(body, dict) else None
        return found if isinstance(found, dict) else None
