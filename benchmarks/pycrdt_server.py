"""A pycrdt-websocket server, set up as in its documentation: ``python -m benchmarks.pycrdt_server PORT``.

It is not in :mod:`benchmarks.servers`, whose imports would count towards the memory of this server.
"""

import asyncio
import sys

import uvicorn
from pycrdt.websocket import ASGIServer, WebsocketServer


async def serve(port: int) -> None:
    """Serve until a signal ends the process."""
    server = WebsocketServer()
    config = uvicorn.Config(
        ASGIServer(server), host="127.0.0.1", port=port, log_level="warning", ws_per_message_deflate=False
    )
    async with server:
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
