"""The HTML of `productpage`, whole in itself: no script, font or picture from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

_STYLE: Final = Path(__file__).with_name("page.css").read_text()
_STARS: Final = 5


def _document(content: str, header: str = "") -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simple Bookstore App</title>
<style>{_STYLE}</style>
</head>
<body>
<header><a href="/productpage">Bookinfo</a>{header}</header>
<main>
{content}
</main>
</body>
</html>
"""


def front() -> str:
    """The first page."""
    return _document(
        "<h1>Bookinfo</h1>\n<p>A bookstore of one book, made of four services.</p>\n"
        '<p><a class="button" href="/productpage">See the book</a></p>'
    )


def product(product: Mapping[str, Any], details: Any, reviews: Any, user: str) -> str:
    """The page of a product; `details` and `reviews` may be `{"error": …}`."""
    content = (
        f"<h1>{escape(str(product['title']))}</h1>\n"
        f'<p class="summary">{escape(str(product["descriptionHtml"]))}</p>\n'
        f'<div class="columns">\n<section>\n{_details(details)}\n</section>\n'
        f"<section>\n{_reviews(reviews)}\n</section>\n</div>"
    )
    return _document(content, _session(user))


def _session(user: str) -> str:
    if user:
        return f'<nav><span>{escape(user)}</span> <a href="/logout">Sign out</a></nav>'
    return (
        '<form method="post" action="/login"><input name="username" placeholder="User name" required '
        'aria-label="User name"><button>Sign in</button></form>'
    )


def _failure(answer: Any) -> str:
    """What to say instead, if this answer is none."""
    if not isinstance(answer, dict):
        return "The answer cannot be understood."
    return str(answer.get("error", ""))


def _details(details: Any) -> str:
    failure = _failure(details)
    if failure:
        return f"<h2>Error fetching product details!</h2>\n<p>{escape(failure)}</p>"
    names = {
        "ISBN-10": "ISBN-10", "publisher": "Publisher", "pages": "Pages", "type": "Type",
        "language": "Language", "year": "Year", "author": "Author",
    }  # fmt: skip
    rows = (
        f"<dt>{title}</dt><dd>{escape(str(details[name]))}</dd>"
        for name, title in names.items()
        if name in details
    )
    return "<h2>Book Details</h2>\n<dl>\n" + "\n".join(rows) + "\n</dl>"


def _reviews(reviews: Any) -> str:
    failure = _failure(reviews)
    if failure:
        return f"<h2>Error fetching product reviews!</h2>\n<p>{escape(failure)}</p>"
    served = escape(str(reviews.get("podname", "")))
    return (
        "<h2>Book Reviews</h2>\n" + "\n".join(_cards(reviews)) + f'\n<p class="served">served by {served}</p>'
    )


def _cards(reviews: Mapping[str, Any]) -> Iterator[str]:
    for review in reviews.get("reviews", ()):
        yield (
            f"<blockquote><p>{escape(str(review.get('text', '')))}</p>"
            f"<footer>{escape(str(review.get('reviewer', '')))}{_rating(review.get('rating'))}</footer>"
            "</blockquote>"
        )


def _rating(rating: Any) -> str:
    if not isinstance(rating, dict):
        return ""
    if "error" in rating:
        return f' <span class="none">{escape(str(rating["error"]))}</span>'
    stars = min(max(int(rating.get("stars", 0)), 0), _STARS)
    color = "red" if rating.get("color") == "red" else "black"
    drawn = "★" * stars + "☆" * (_STARS - stars)
    return f' <span class="stars {color}" title="{stars} of {_STARS}">{drawn}</span>'
