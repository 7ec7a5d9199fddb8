"""A service that decides whether requests to others may pass, to try external authorization with.

`python -m marline.samples.authorizer` listens on 127.0.0.1 at `$PORT`. As Istio's sample of this kind does,
it allows requests with the header `x-ext-authz: allow`, and says what it decided in
`x-ext-authz-check-result`.
"""

import os
import sys

from marline.samples.server import Request, Response, serve

_PORT = "8000"


def answer(request: Request) -> Response:
    allowed = request.headers.get("x-ext-authz") == "allow"
    result = {"x-ext-authz-check-result": "allowed" if allowed else "denied"}
    if allowed:
        return Response(200, b"", "text/plain", result)
    said = f"denied: {request.method} {request.path} has no header `x-ext-authz: allow`\n"
    return Response(403, said.encode(), "text/plain", result)


def main() -> int:
    """Serve until SIGTERM; 2 if the environment is wrong."""
    port = os.environ.get("PORT", _PORT)
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        print(f"authorizer: PORT is {port!r}; expected a number from 1 to 65535", file=sys.stderr)
        return 2
    serve(answer, "127.0.0.1", int(port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
