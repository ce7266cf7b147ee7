"""The WebSocket server, and the two protocols that clients speak: y-websocket and Hocuspocus."""
