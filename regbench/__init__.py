"""The Python client and the `regbench` command. Needs neither TensorFlow, FastAPI nor a database.

    from regbench import Regbench

    with Regbench() as regbench:
        job = regbench.submit({"regularization": {"dropout": {"rate": 0.5}}}).wait(timeout=600)

docs/reference/client.md says what else it can do.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regbench.client import Regbench

__all__ = ["Regbench"]


def __getattr__(name: str) -> Any:
    # Not at once: `import regbench.errors` need not wait for httpx.
    if name == "Regbench":
        from regbench.client import Regbench  # noqa: PLC0415 (see above)

        return Regbench
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
