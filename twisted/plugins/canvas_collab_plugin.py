from twisted.application.service import ServiceMaker

canvas_collab = ServiceMaker(
    "Canvas Collab",
    "canvas_collab.plugin",
    "Realtime collaboration for Yjs documents.",
    "canvas-collab",
)
