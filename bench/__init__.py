"""The benchmark: kallglotfs beside its peers on one machine, bytes and requests checked in every round.

Users: `scripts/bench`, or `python -m bench` in the development environment. Not part of the package.
"""
