"""A Kallglot-compatible service on localhost with real recordings, for demos, tests and benchmarks.

Needs the `demo` extra. Only the command line imports this package; the mount itself never does.
"""
