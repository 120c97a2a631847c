"""The Python client and the `regbench` command. Needs neither TensorFlow, FastAPI nor a database."""
