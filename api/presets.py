"""Ready experiments. Each is a plain experiment document, so that anything in it can be overridden.

`POST /v1/experiments {"preset": NAME, ...overrides}` lays the overrides over the document as a JSON merge
patch (RFC 7396): objects merge, null removes, and lists (variants, seeds) are replaced whole.
"""

from dataclasses import dataclass
from typing import Any

from models.errors import FieldError, InvalidSpec
from models.experiments import Document, ExperimentSpec, merge_patch
from models.techniques import CATALOGUE

# Enough pairs for the exact test and for an interval worth reading; `"replicates": 3` makes it quick.
TEN_SEEDS = list(range(10))


@dataclass(frozen=True)
class Preset:
    """An experiment document, and what should come out of it (directions, not values)."""

    title: str
    expect: str
    document: Document

    @property
    def spec(self) -> ExperimentSpec:
        """The document as an experiment."""
        return ExperimentSpec.model_validate(self.document)


def _base(**dataset: Any) -> Document:
    """The seed document's plain network: 784-512-512-10, Adam, batches of 32, ten epochs."""
    return {
        "dataset": {"name": "mnist", "validation_fraction": 0.2, **dataset},
        "model": {"family": "mlp", "hidden_units": [512, 512], "activation": "relu"},
        "training": {
            "optimizer": {"name": "adam", "learning_rate": 0.001},
            "batch_size": 32,
            "epochs": 10,
        },
    }


def _with(**techniques: Document) -> Document:
    return {"regularization": techniques}


def _every_technique() -> list[Document]:
    alone = [
        {"name": technique.about.title, "changes": _with(**{name: {}})}
        for name, technique in CATALOGUE.items()
        if name != "spatial_dropout"  # a fully connected network has no feature maps to silence
    ]
    return [{"name": "none", "changes": {}}, *alone]


PRESETS: dict[str, Preset] = {
    "dropout-vs-none": Preset(
        title="The same network without and with dropout 0.5 after each hidden layer",
        expect="Test accuracy may tie. Test loss and both generalization gaps are lower with dropout, and "
        "the accuracy seen while training stands below the validation accuracy, because units are missing.",
        document={
            "name": "dropout-vs-none",
            # Keras's validation_split takes the last rows, and so does the experiment this one repeats.
            "base": _base(validation_split="last"),
            "variants": [
                {"name": "without Dropout", "changes": {}},
                {"name": "with Dropout", "changes": _with(dropout={"rate": 0.5})},
            ],
            "baseline": "without Dropout",
            "seeds": [0],
        },
    ),
    "l1-vs-l2": Preset(
        title="L1, L2 and both (elastic net) against none",
        expect="Smaller weight norms and smaller gaps with either penalty; hardly any exact zeros with L1, "
        "because a subgradient step does not stop at zero.",
        document={
            "name": "l1-vs-l2",
            "base": _base(),
            "variants": [
                {"name": "none", "changes": {}},
                {"name": "L1", "changes": _with(l1={"factor": 1e-5})},
                {"name": "L2", "changes": _with(l2={"factor": 1e-4})},
                {"name": "L1 + L2", "changes": _with(l1={"factor": 1e-5}, l2={"factor": 1e-4})},
            ],
            "baseline": "none",
            "seeds": TEN_SEEDS,
        },
    ),
    "batch-normalization": Preset(
        title="Batch normalization, alone and with dropout, against none",
        expect="Faster early epochs with batch normalization. As a regularizer it is mild; dropout after it "
        "lowers loss and gap further.",
        document={
            "name": "batch-normalization",
            "base": _base(),
            "variants": [
                {"name": "none", "changes": {}},
                {"name": "batch normalization", "changes": _with(batch_normalization={})},
                {
                    "name": "batch normalization + dropout",
                    "changes": _with(batch_normalization={}, dropout={"rate": 0.5}),
                },
            ],
            "baseline": "none",
            "seeds": TEN_SEEDS,
        },
    ),
    "all-techniques": Preset(
        title="Each technique that a fully connected network can have, at its default strength, against none",
        expect="What each technique buys in accuracy, loss and gap, and what it costs in seconds; early "
        "stopping is the one that saves time.",
        document={
            "name": "all-techniques",
            "base": _base(),
            "variants": _every_technique(),
            "baseline": "none",
            "seeds": TEN_SEEDS,
        },
    ),
}


def resolve(document: Document) -> tuple[str | None, Document]:
    """The preset's name and the whole experiment that a posted document means.

    Raises:
        InvalidSpec: there is no such preset.
    """
    if "preset" not in document:
        return None, document
    overrides = dict(document)
    name = overrides.pop("preset")
    if not isinstance(name, str) or name not in PRESETS:
        choices = ", ".join(PRESETS)
        raise InvalidSpec([FieldError("/preset", f"there is no such preset; choose one of {choices}")])
    underneath = dict(PRESETS[name].document)
    if overrides.get("replicates") is not None:
        # The two exclude each other; whoever asks for replicates does not mean the preset's seeds too.
        underneath.pop("seeds", None)
    return name, merge_patch(underneath, overrides)
