"""`python -m bench NAME [OPTIONS]`: run one benchmark, a module here; exit code 1 if it misses a target."""

import sys
from importlib import import_module

sys.exit(import_module(f"bench.{sys.argv.pop(1)}").main())
