"""What an API key may access: each scope includes the ones before it."""

from enum import StrEnum


class Scope(StrEnum):
    """How much a key may do."""

    READ = "read"
    """See its owner's rows."""
    WRITE = "write"
    """Also make, change and delete them."""
    ADMIN = "admin"
    """Also everybody's rows, the keys and the audit trail."""

    def includes(self, required: "Scope") -> bool:
        """Whether a key of this scope may do what needs `required`."""
        order = list(Scope)
        return order.index(self) >= order.index(required)
