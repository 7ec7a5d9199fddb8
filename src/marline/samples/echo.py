"""A service that says who it is and what it was asked, to see what a mesh does with a request.

`python -m marline.samples.echo` listens on 127.0.0.1 at `$PORT`. Its answer is one line of JSON; `/headers`
answers with the request's headers, `/status/503` with that status, `/delay/2` after two seconds, and `/count`
with how many requests there were before. `$VERSION` (or else the workload's name) is in every answer.
"""

import itertools
import os
import sys
import time

from marline.samples.server import Request, Response, json_response, serve

_PORT = "9080"
_LONGEST_DELAY = 60.0


_numbers = itertools.count()


def answer(request: Request) -> Response:
    """What the path asks for; anything else is a plain 200."""
    before = next(_numbers)
    said = {"version": version(), "method": request.method, "path": request.path}
    match request.segments:
        case ["headers"]:
            return json_response(said | {"headers": dict(request.headers)})
        case ["count"]:
            return json_response(said | {"before": before})
        case ["status", code] if code.isascii() and code.isdigit() and 200 <= int(code) <= 599:
            return json_response(said, int(code))
        case ["delay", seconds] if seconds.isascii() and seconds.isdigit():
            time.sleep(min(float(seconds), _LONGEST_DELAY))
    return json_response(said)


def version() -> str:
    return os.environ.get("VERSION") or os.environ.get("MARLINE_WORKLOAD", "")


def main() -> int:
    """Serve until SIGTERM; 2 if the environment is wrong."""
    port = os.environ.get("PORT", _PORT)
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        print(f"echo: PORT is {port!r}; expected a number from 1 to 65535", file=sys.stderr)
        return 2
    serve(answer, "127.0.0.1", int(port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
