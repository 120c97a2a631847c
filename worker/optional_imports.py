"""What Keras and scikit-learn import only because it is installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_UNUSED = ("IPython", "matplotlib", "pandas", "pyarrow")


@contextmanager
def skip_optional_imports(*more: str) -> Iterator[None]:
    """Within it, packages for pictures and tables, and `more`, seem not to be installed.

    Keras and scikit-learn import them if they can, and do without. mlxtend brings them into every worker,
    which uses none: they took a fifth of the processor time of a training process's start, and 95 MB.
    """
    hidden = [name for name in (*_UNUSED, *more) if name not in sys.modules]
    # An import of a name that is None here raises ModuleNotFoundError.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # typeshed does not know of None
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
