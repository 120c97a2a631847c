"""What `regbench` can do, one file for each group of commands; client/cli.py puts them together."""
