"""``python -m canvas_collab`` is the command ``canvas-collab``."""

from canvas_collab.cli.main import main

main()
