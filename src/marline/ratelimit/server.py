"""The gRPC server of `RateLimitService.ShouldRateLimit`: a short shell around windows and counters."""

import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from envoy.service.ratelimit.v3 import rls_pb2
from grpc import aio

from marline.ratelimit.counters import Counters, CountersUnavailable
from marline.ratelimit.windows import answer, question

_METHOD: Final = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)
_GRACE_SECONDS: Final = 0.2

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serve_limits(
    counters: Counters, socket: Path, clock: Callable[[], float] = time.time
) -> AsyncIterator[None]:
    """Answer at a Unix socket that only its owner can open, within this block. Raises OSError if the socket
    is not to be had."""
    server = aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((_Handler(counters, clock),))
    _bind(server, socket)
    await server.start()
    try:
        yield
    finally:
        await server.stop(_GRACE_SECONDS)


def _bind(server: aio.Server, socket: Path) -> None:
    socket.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{socket}")
    except RuntimeError as error:
        raise OSError(f"{socket}: {error}") from error
    finally:
        os.umask(before)


class _Handler(grpc.GenericRpcHandler):
    """Serves the one method. While counters do not answer it fails, and proxies do as their policies say."""

    def __init__(self, counters: Counters, clock: Callable[[], float]) -> None:
        self._counters, self._clock = counters, clock
        self._lost = False

    def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        if call.method != _METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._should_rate_limit,
            rls_pb2.RateLimitRequest.FromString,
            rls_pb2.RateLimitResponse.SerializeToString,
        )

    async def _should_rate_limit(
        self, request: Any, context: "aio.ServicerContext[Any, Any]"
    ) -> rls_pb2.RateLimitResponse:
        now = self._clock()
        asked = [question(item, request.hits_addend or 1, now) for item in request.descriptors]
        try:
            totals = await self._counters.add([item for item in asked if item is not None], now)
        except CountersUnavailable as error:
            self._say(lost=True, why=str(error))
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        self._say(lost=False)
        return answer(asked, totals, now)

    def _say(self, *, lost: bool, why: str = "") -> None:
        """Once when counters are lost, and once when they are back."""
        if lost != self._lost:
            self._lost = lost
            if lost:
                _log.warning("the counters do not answer: %s", why)
            else:
                _log.info("the counters are back")
