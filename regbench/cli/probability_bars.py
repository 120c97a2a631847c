"""How predictions are shown: a bar for each class."""

from collections.abc import Sequence

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regbench.resources import Prediction

_BAR_WIDTH = 40


def show_predictions(console: Console, names: Sequence[str], predictions: Sequence[Prediction]) -> None:
    """Print for each image the most probable class, and the probability of each."""
    for name, prediction in zip(names, predictions, strict=True):
        # Text: a file's name is no markup.
        console.print(Text(f"{name}: {prediction.label} ({prediction.confidence:.1%})"), soft_wrap=True)
        table = Table.grid(padding=(0, 1))
        for label, probability in enumerate(prediction.probabilities):
            style = "bold" if label == prediction.label else ""
            bar = (
                Bar(1.0, 0.0, probability, width=_BAR_WIDTH)
                if console.encoding.startswith("utf")
                else Text("#" * round(_BAR_WIDTH * probability))
            )
            table.add_row(Text(str(label), style), bar, Text(f"{probability:6.1%}", style))
        console.print(table)
