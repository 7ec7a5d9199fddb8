"""An echo that says on `/ready` that it is not ready as long as the file BUSY is there."""

import asyncio
import os

import echo
from aiohttp import web


@web.middleware
async def ready(request: web.Request, handler: echo.Handler) -> web.StreamResponse:
    if request.path == "/ready":
        return web.Response(status=503 if os.access(os.environ["BUSY"], os.F_OK) else 200)
    return await handler(request)


asyncio.run(echo.main(ready))
