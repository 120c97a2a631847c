"""What the parts of a compiled program that realize techniques have in common."""

from typing import Protocol

import tensorflow as tf

from models.spec import JobSpec


class Configurable(Protocol):
    """A part built for one shape of program, and set to each job's own numbers."""

    def configure(self, spec: JobSpec) -> None:
        """Set the job's numbers and seed; nothing is compiled again."""


class StrengthVariables:
    """A part that reads the strengths of the job's active techniques from variables, by technique.

    A technique that is not active has no variable, and is not in the program.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._strengths = {
            name: tf.Variable(0.0, trainable=False)
            for name, technique in spec.regularization.active.items()
            if technique.strength_parameter
        }

    def configure(self, spec: JobSpec) -> None:
        """Set the job's own strengths."""
        for name, variable in self._strengths.items():
            variable.assign(spec.regularization.active[name].strength)
