"""What an API key may access."""

from enum import StrEnum


class Scope(StrEnum):
    """How much a key may do."""

    READ = "read"
    """See its owner's rows."""
    OBSERVE = "observe"
    """See everybody's rows and the installation's metrics; change nothing."""
    WRITE = "write"
    """See its owner's rows; make, change and delete them."""
    ADMIN = "admin"
    """Also everybody's rows, the keys and the audit trail."""

    def includes(self, required: "Scope") -> bool:
        """Whether a key of this scope may do what needs `required`."""
        return required in _INCLUDED[self]


_INCLUDED = {
    Scope.READ: {Scope.READ},
    Scope.OBSERVE: {Scope.READ, Scope.OBSERVE},
    Scope.WRITE: {Scope.READ, Scope.WRITE},
    Scope.ADMIN: {*Scope},
}
