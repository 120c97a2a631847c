"""The whole service on this machine, as child processes: `regbench up`, `demo` and `doctor`."""
