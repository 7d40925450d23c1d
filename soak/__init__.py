"""Load on a real mount for as long as one likes: 64 readers that check every byte, faults, memory over time.

Not part of the package that is installed. `scripts/soak` runs it.
"""
