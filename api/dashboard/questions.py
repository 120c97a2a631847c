"""The questions about regularization that have a page each, and what measures their answers in seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.axes import TRAIN_SAMPLES
from models.documents import Document
from models.experiments import FEWEST_PAIRS

_LOSSES = ("test_loss", "generalization_gap_loss", "test_accuracy", "generalization_gap_accuracy")


@dataclass(frozen=True)
class Question:
    """A question, and what measures its answer."""

    part: str
    title: str
    techniques: dict[str, Document]
    """Those that its small experiment compares with none, with their parameters."""
    metrics: tuple[str, ...] = _LOSSES
    """The columns of its table."""

    @property
    def quick_experiment(self) -> Document:
        """Seconds for each job, and the fewest seeds from which differences are called."""
        names = {name.replace("_", " "): {name: value} for name, value in self.techniques.items()}
        return {
            "name": f"none and {', '.join(names)}, small",
            "base": {
                "dataset": {"name": "mnist_5k"},
                "model": {"hidden_units": [128]},
                "training": {"epochs": 10},
            },
            "variants": _build_variants(names),
            "seeds": list(range(FEWEST_PAIRS)),
        }


def _build_variants(techniques: Mapping[str, Document]) -> list[Document]:
    plain: Document = {"name": "none", "changes": {}}
    return [
        plain,
        *({"name": name, "changes": {"regularization": value}} for name, value in techniques.items()),
    ]


_DROPOUT: Document = {"dropout": {"rate": 0.5}}
_L2: Document = {"l2": {"factor": 1e-3}}
_PARTS = ("Understanding regularization", "Techniques", "Applying regularization")
QUESTIONS = {
    "what-is-regularization": Question(
        _PARTS[0],
        "What is regularization in deep learning, and why is it important?",
        _DROPOUT | _L2,
    ),
    "bias-and-variance": Question(
        _PARTS[0],
        "What is the bias-variance tradeoff, and how does regularization address it?",
        _DROPOUT | _L2,
    ),
    "l1-and-l2": Question(
        _PARTS[0],
        "How do L1 and L2 differ in their penalties and in their effects on the model?",
        {"l1": {"factor": 1e-4}, "l2": {"factor": 1e-3}, "proximal_l1": {"factor": 0.1}},
        ("test_accuracy", "test_loss", "zero_weight_fraction", "weight_norm"),
    ),
    "overfitting": Question(
        _PARTS[0],
        "How does regularization prevent overfitting and improve generalization?",
        _L2 | {"label_smoothing": {}},
    ),
    "dropout": Question(
        _PARTS[1],
        "How does dropout work, and what does it change in training and at inference?",
        _DROPOUT,
        (*_LOSSES, "training_seconds"),
    ),
    "early-stopping": Question(
        _PARTS[1],
        "How does early stopping prevent overfitting during training?",
        {"early_stopping": {"patience": 2}},
        ("test_loss", "test_accuracy", "generalization_gap_loss", "epochs_run", "training_seconds"),
    ),
    "batch-normalization": Question(
        _PARTS[1],
        "What is batch normalization, and in what way does it regularize?",
        {"batch_normalization": {}},
        (*_LOSSES, "training_seconds"),
    ),
    "dropout-in-practice": Question(
        _PARTS[2],
        "With dropout and without: how is the comparison made, and what comes out?",
        _DROPOUT,
    ),
    "choosing": Question(
        _PARTS[2],
        "Which technique for which task? What is to be weighed?",
        _DROPOUT | _L2 | {"early_stopping": {"patience": 2}, "label_smoothing": {}},
        ("test_accuracy", "test_loss", "test_ece", "training_seconds"),
    ),
}


@dataclass(frozen=True)
class Study:
    """An experiment along one axis that shows overfitting, or bias and variance."""

    kind: Literal["overfitting", "bias_variance"]
    field: str
    """The axis, as a JSON pointer."""
    title: str
    axis: str
    document: Document
    """One of a few seconds."""
    id: str = ""
    name: str = ""

    def matches(self, document: Mapping[str, Any]) -> bool:
        """Whether an experiment measures this."""
        axes = document.get("axes") or []
        fields = [axis["field"] for axis in axes if len(axis["values"]) > 1]
        return fields == [self.field] and bool(document.get("parts")) == (self.kind == "bias_variance")


def _build_study(
    kind: Any, field: str, values: Sequence[Any], *, title: str, axis: str, **options: Any
) -> Study:
    dataset: Document = {"name": "mnist_5k"}
    if field != TRAIN_SAMPLES and "parts" not in options:
        dataset["train_samples"] = 1000
    document: Document = {
        "name": f"{title}, small",
        "base": {"dataset": dataset, "model": {"hidden_units": [64]}, "training": {"epochs": 8}},
        "variants": _build_variants({"L2": _L2, "dropout": _DROPOUT}),
        "axes": [{"field": field, "values": values}],
    }
    return Study(kind, field, title, axis, document | options)


_WIDTH = "/model/hidden_units"
STUDIES = (
    _build_study(
        "bias_variance",
        _WIDTH,
        [[2], [8], [32], [128]],
        title="Bias and variance by width",
        axis="Hidden units",
        parts=3,
        seeds=[0],
    ),
    _build_study(
        "overfitting",
        _WIDTH,
        [[4], [32], [256]],
        title="Overfitting by width",
        axis="Hidden units",
        seeds=list(range(FEWEST_PAIRS)),
    ),
    _build_study(
        "overfitting",
        TRAIN_SAMPLES,
        [250, 1000, 4000],
        title="Overfitting by size of the training set",
        axis="Training examples",
        seeds=list(range(FEWEST_PAIRS)),
    ),
)
