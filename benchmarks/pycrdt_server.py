"""A pycrdt-websocket server, as its documentation sets one up: ``python -m benchmarks.pycrdt_server PORT``."""

import asyncio
import sys

import uvicorn
from pycrdt.websocket import ASGIServer, WebsocketServer


async def serve(port: int) -> None:
    """Serve until a signal comes."""
    websockets = WebsocketServer()
    config = uvicorn.Config(
        ASGIServer(websockets), host="127.0.0.1", port=port, log_level="warning", ws_per_message_deflate=False
    )
    async with websockets:
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
