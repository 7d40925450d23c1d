"""The log: where it goes, what its lines look like, what is never in it, what is counted in place of told."""

from kallglotfs.logs.destination import Log, configure
from kallglotfs.logs.formats import CONTINUED
from kallglotfs.logs.redaction import escaped, redact

__all__ = ["CONTINUED", "Log", "configure", "escaped", "redact"]
