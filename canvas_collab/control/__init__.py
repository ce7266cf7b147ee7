"""The control socket: what an operator's commands ask of the running daemon, over a unix socket."""
