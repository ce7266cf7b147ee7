"""The command ``canvas-collab``, with which operators inspect, restore, repair and back up documents."""
