"""The servers that are measured: how each is started, and how a document gets into its store."""

from collections.abc import Mapping

from benchmarks.servers.base import Server
from benchmarks.servers.canvas_collab import CanvasCollab, CanvasCollabHocuspocus
from benchmarks.servers.floor import Floor
from benchmarks.servers.hocuspocus import Hocuspocus2, Hocuspocus4
from benchmarks.servers.pycrdt_websocket import PycrdtWebsocket
from benchmarks.servers.y_websocket import YWebsocketServer

SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (
        CanvasCollab(),
        CanvasCollabHocuspocus(),
        Hocuspocus4(),
        Hocuspocus2(),
        YWebsocketServer(),
        PycrdtWebsocket(),
        Floor(),
    )
}
