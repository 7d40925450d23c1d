"""The control socket: a running mount answers questions of its own user and of root."""
