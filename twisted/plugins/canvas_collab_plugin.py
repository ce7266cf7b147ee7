from twisted.application.service import ServiceMaker

canvas_collab = ServiceMaker(
    "Canvas Collab",
    "canvas_collab.tap",
    "Realtime collaboration for Yjs documents.",
    "canvas-collab",
)
