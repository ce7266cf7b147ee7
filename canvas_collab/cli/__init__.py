"""The command ``canvas-collab``: what an operator looks up, brings back, checks and keeps beside the daemon."""
