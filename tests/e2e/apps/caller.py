"""A workload that calls others when told to, over a Unix socket: the test's hand inside the mesh.

`POST /fetch`  {url, count, concurrency, headers, method, body, timeout}: what became of each request.
`POST /begin`  the same, with a `pause` between the requests of each worker; answers at once.
`POST /end`    stops that and says what became of them.
`POST /lines`  {host, port, connections}: what a line-based TCP service answers to one line each.
`POST /socket` {url}: one WebSocket message and its answer.

`{REVIEWS_URL}` in a url, host or port stands for this workload's environment.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

import aiohttp
from aiohttp import web

State = dict[str, Any]


def filled(text: str) -> str:
    return text.format(**os.environ)


async def one(session: aiohttp.ClientSession, asked: State) -> State:
    begun = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=asked.get("timeout", 30))
    try:
        async with session.request(
            asked.get("method", "GET"), filled(asked["url"]), headers=asked.get("headers"),
            data=asked.get("body"), timeout=timeout, allow_redirects=False,
        ) as response:  # fmt: skip
            text = await response.text()
            status, headers = response.status, dict(response.headers)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        status, text, headers = 0, f"{type(error).__name__}: {error}", {}
    try:
        said = json.loads(text)
    except ValueError:
        said = text
    return {"status": status, "said": said, "headers": headers, "seconds": time.monotonic() - begun}


async def fetch(request: web.Request) -> web.Response:
    asked = await request.json()
    left = iter(range(asked.get("count", 1)))
    results: list[State] = []

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in left:
            results.append(await one(session, asked))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(asked.get("concurrency", 1))))
    return web.json_response(results)


async def begin(request: web.Request) -> web.Response:
    asked = await request.json()
    request.app["ending"], request.app["results"] = asyncio.Event(), []

    async def work(session: aiohttp.ClientSession) -> None:
        while not request.app["ending"].is_set():
            result = await one(session, asked)
            said = result["said"]
            version = said.get("version", "") if isinstance(said, dict) else said
            request.app["results"].append((result["status"], version))
            await asyncio.sleep(asked.get("pause", 0.005))

    async def run() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(work(session) for _ in range(asked.get("concurrency", 1))))

    request.app["running"] = asyncio.create_task(run())
    return web.json_response({})


async def end(request: web.Request) -> web.Response:
    request.app["ending"].set()
    await request.app["running"]
    return web.json_response(request.app["results"])


async def lines(request: web.Request) -> web.Response:
    asked = await request.json()
    answers = []
    for number in range(asked.get("connections", 1)):
        try:
            reader, writer = await asyncio.open_connection(filled(asked["host"]), int(filled(asked["port"])))
            writer.write(f"line {number}\n".encode())
            answers.append((await asyncio.wait_for(reader.readline(), 10)).decode())
            writer.close()
        except OSError as error:
            answers.append(type(error).__name__)
    return web.json_response(answers)


async def socket(request: web.Request) -> web.Response:
    asked = await request.json()
    async with aiohttp.ClientSession() as session, session.ws_connect(filled(asked["url"])) as opened:
        await opened.send_str("hello")
        return web.json_response(await opened.receive_str())


async def main(path: str) -> None:
    app = web.Application()
    for handler in (fetch, begin, end, lines, socket):
        app.router.add_post(f"/{handler.__name__}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.5, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
