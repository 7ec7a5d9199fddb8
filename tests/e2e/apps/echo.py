"""A service that says who it is and what it was asked: HTTP, WebSocket, TCP.

Environment: VERSION; ports in PORT_HTTP and PORT_TCP. `?status=` and `?delay=` say how to answer, `/seen`
tells what was asked.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

VERSION = os.environ.get("VERSION", "")
NAME = os.environ["MARLINE_WORKLOAD"]


seen: list[str] = []


async def answer(request: web.Request) -> web.StreamResponse:
    if request.path == "/seen":
        return web.json_response({"version": VERSION, "seen": seen})
    seen.append(request.raw_path)
    if request.headers.get("Upgrade", "").lower() == "websocket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{VERSION}:{message.data}")
        return socket
    if "delay" in request.query:
        await asyncio.sleep(float(request.query["delay"]))
    body = await request.read()
    said = {
        "version": VERSION,
        "workload": NAME,
        "method": request.method,
        "path": request.raw_path,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": body.decode(errors="replace"),
    }
    return web.json_response(said, status=int(request.query.get("status", "200")))


async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(f"{VERSION} ".encode() + line)
        await writer.drain()
    writer.close()


async def main(*middlewares: Any) -> None:
    app = web.Application(middlewares=middlewares)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=2.0, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT_HTTP"])).start()
    if "PORT_TCP" in os.environ:
        await asyncio.start_server(lines, "127.0.0.1", int(os.environ["PORT_TCP"]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
