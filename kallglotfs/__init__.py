"""kallglotfs mounts a company's Kallglot call recordings as a read-only folder."""

__version__ = "0.1.0"
