"""TensorFlow, set up once in a process, before anything else here imports it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from models.records import Engine

OUT_OF_MEMORY: tuple[type[Exception], ...] = (MemoryError, tf.errors.ResourceExhaustedError)
"""Exceptions of an allocation that failed, where the process survives."""


def start_engine(threads: int, *, deterministic: bool = True) -> Engine:
    """Fix what makes training repeatable: deterministic kernels and the number of threads.

    A process has one engine: TensorFlow refuses to change its threads once it has computed something.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    device = f"{_cpu_model()} ({platform.machine()})"
    for gpu in reversed(tf.config.list_physical_devices("GPU")):
        tf.config.experimental.set_memory_growth(gpu, True)
        device = str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"))
    return Engine(
        tensorflow=tf.__version__,
        keras=keras.__version__,
        device=device,
        threads=threads,
        regbench=version("regbench"),
    )


def _cpu_model() -> str:
    """The processor's name: `platform` knows only its family."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "CPU"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "CPU")
