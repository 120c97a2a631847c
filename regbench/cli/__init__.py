"""What `regbench` can do, one file for each group of commands; regbench/cli/main.py puts them together."""
