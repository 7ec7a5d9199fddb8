"""`python -m marline.samples.bookinfo PROGRAM`: run one of the four.

It listens on 127.0.0.1 at `$PORT`, or 9080, and finds the others at `$REVIEWS_URL`, `$DETAILS_URL` and
`$RATINGS_URL`, or at `http://reviews:9080` and so on.
"""

import os
import sys

from marline.samples.bookinfo import details, productpage, ratings, reviews
from marline.samples.bookinfo.calls import upstream
from marline.samples.server import Handler, serve

_PORT = 9080


def program(name: str) -> Handler | None:
    """What answers the requests to one of the programs, set up from the environment."""
    if name == "productpage":
        return productpage.ProductPage(upstream("details"), upstream("reviews"), upstream("ratings")).answer
    if name == "details":
        return details.answer
    if name == "reviews":
        return reviews.Reviews(reviews.settings(os.environ), upstream("ratings")).answer
    if name == "ratings":
        return ratings.Ratings().answer
    return None


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM; 2 if the command line or the environment is wrong."""
    name = arguments[0] if len(arguments) == 1 else ""
    port = os.environ.get("PORT", str(_PORT))
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        print(f"bookinfo: PORT is {port!r}; expected a number from 1 to 65535", file=sys.stderr)
        return 2
    try:
        handler = program(name)
    except ValueError as error:
        print(f"bookinfo: {error}", file=sys.stderr)
        return 2
    if handler is None:
        print(
            "usage: python -m marline.samples.bookinfo productpage|details|reviews|ratings", file=sys.stderr
        )
        return 2
    serve(handler, "127.0.0.1", int(port))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
