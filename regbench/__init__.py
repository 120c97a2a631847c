"""The Python client of a Regbench service, and the `regbench` command.

    from regbench import Regbench

    with Regbench() as regbench:
        job = regbench.submit({"regularization": {"dropout": {"rate": 0.5}}}).wait(timeout=600)

docs/reference/client.md says what else it can do. The modules of this folder import no other package of the
repository, so that they work beside a user's own models.py or api.py; only `cli` and `local` do.
"""

from regbench.client import Regbench

__all__ = ["Regbench"]
