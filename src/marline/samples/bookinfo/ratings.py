"""`ratings`: how many stars reviewers give; `POST` changes that in memory."""

import json
import threading
from typing import Any

from marline.samples.server import Request, Response, error_response, json_response

_FIRST = {"Reviewer1": 5, "Reviewer2": 4}


class Ratings:
    """Ratings by product."""

    def __init__(self) -> None:
        self._by_product: dict[int, dict[str, int]] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Response:
        """`/ratings/ID` and `/health`."""
        match request.segments:
            case ["health"]:
                return json_response({"status": "Ratings is healthy"})
            case ["ratings", number]:
                if not number.isascii() or not number.isdigit():
                    return error_response(400, "please provide numeric product ID")
                return self._rate(int(number), request) if request.method == "POST" else self._of(int(number))
        return error_response(404, "not found")

    def _of(self, product: int) -> Response:
        with self._lock:
            found = self._by_product.get(product, _FIRST)
        return json_response({"id": product, "ratings": found})

    def _rate(self, product: int, request: Request) -> Response:
        given = _ratings(request.body)
        if given is None:
            return error_response(400, "please provide valid ratings JSON")
        with self._lock:
            self._by_product[product] = given
        return self._of(product)


def _ratings(body: bytes) -> dict[str, int] | None:
    """`{"Reviewer1": 5, …}`, one to five stars each; None for anything else."""
    try:
        given: Any = json.loads(body)
    except ValueError:
        return None
    if not isinstance(given, dict):
        return None
    stars = given.values()
    return given if all(type(value) is int and 1 <= value <= 5 for value in stars) else None
