"""`details`: what is known of a book."""

from typing import Any

from marline.samples.server import Request, Response, error_response, json_response


def answer(request: Request) -> Response:
    """`/details/ID` and `/health`."""
    match request.segments:
        case ["health"]:
            return json_response({"status": "Details is healthy"})
        case ["details", number]:
            if not number.isascii() or not number.isdigit():
                return error_response(400, "please provide numeric product id")
            return json_response(book(int(number)))
    return error_response(404, "not found")


def book(number: int) -> dict[str, Any]:
    """The fields of Istio's `details`."""
    return {
        "id": number,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    }
