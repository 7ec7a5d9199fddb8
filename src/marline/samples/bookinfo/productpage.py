"""`productpage`: the page that people see, made of what `details` and `reviews` answer."""

import http.cookies
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from marline.samples.bookinfo import page
from marline.samples.bookinfo.calls import CallFailed, get_json, propagated
from marline.samples.server import Request, Response, error_response, html_response, json_response

_OK: Final = 200
_SECONDS: Final = 3.0
_REVIEWS_TRIES: Final = 2
"""So that the page waits at most 6 s for its reviews, as Istio's task "Fault Injection" expects."""
_COOKIE: Final = "session"
_USER: Final = re.compile(r"[\w.@+-]{1,64}", re.ASCII)
PRODUCTS: Final = (
    {
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": (
            "One of William Shakespeare's first plays and his shortest: two pairs of twins, parted by a "
            "shipwreck, come to the same town, where everybody takes each for the other."
        ),
    },
)


@dataclass(frozen=True, slots=True)
class ProductPage:
    """Answers, given where the other services are."""

    details_url: str
    reviews_url: str
    ratings_url: str
    patience: float = _SECONDS
    """How many seconds another service may take."""

    def answer(self, request: Request) -> Response:
        """Pages for people, and JSON below `/api/v1/products`."""
        match request.segments:
            case []:
                return html_response(page.front())
            case ["health"]:
                return html_response("Product page is healthy")
            case ["productpage"]:
                return self._page(request)
            case ["login"] if request.method == "POST":
                return _login(request.form().get("username", ""))
            case ["logout"]:
                return _redirect("/productpage", f"{_COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
            case ["api", "v1", "products"]:
                return json_response(PRODUCTS)
            case ["api", "v1", "products", number, *rest]:
                if not number.isascii() or not number.isdigit():
                    return error_response(400, "please provide numeric product id")
                return self._product(number, rest, forwarded(request.headers))
        return error_response(404, "not found")

    def _page(self, request: Request) -> Response:
        headers = forwarded(request.headers)
        product = PRODUCTS[0]
        _, details = self._details(str(product["id"]), headers)
        _, reviews = self._reviews(str(product["id"]), headers)
        return html_response(page.product(product, details, reviews, session_user(request.headers)))

    def _product(self, number: str, rest: list[str], headers: Mapping[str, str]) -> Response:
        match rest:
            case []:
                status, body = self._details(number, headers)
            case ["reviews"]:
                status, body = self._reviews(number, headers)
            case ["ratings"]:
                status, body = self._ask(f"{self.ratings_url}/ratings/{number}", headers, "product ratings")
            case _:
                return error_response(404, "not found")
        return json_response(body, status)

    def _details(self, number: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        return self._ask(f"{self.details_url}/details/{number}", headers, "product details")

    def _reviews(self, number: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        url = f"{self.reviews_url}/reviews/{number}"
        for _ in range(_REVIEWS_TRIES):
            status, body = self._ask(url, headers, "product reviews")
            if status == _OK:
                break
        return status, body

    def _ask(self, url: str, headers: Mapping[str, str], what: str) -> tuple[int, Any]:
        """The answer if it is a good one, else a status and `{"error": …}`."""
        try:
            status, body = get_json(url, headers, self.patience)
        except CallFailed:
            status, body = 500, None
        if status == _OK:
            return status, body
        return status, {"error": f"Sorry, {what} are currently unavailable for this book."}


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of calls made for a request; who has logged in is the `end-user`."""
    user = session_user(headers)
    return propagated(headers) | ({"end-user": user} if user else {})


def session_user(headers: Mapping[str, str]) -> str:
    """Who has logged in, or "". Without passwords it is a name that anybody may take, not a proof."""
    cookies = http.cookies.SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except http.cookies.CookieError:
        return ""
    found = cookies.get(_COOKIE)
    user = unquote(found.value) if found is not None else ""
    return user if _USER.fullmatch(user) else ""


def _login(user: str) -> Response:
    if not _USER.fullmatch(user):
        return error_response(400, "a user name has 1 to 64 letters, digits and . @ + - _")
    return _redirect("/productpage", f"{_COOKIE}={quote(user)}; Path=/; HttpOnly; SameSite=Lax")


def _redirect(place: str, cookie: str) -> Response:
    return Response(302, b"", "text/plain", {"Location": place, "Set-Cookie": cookie})
