"""What every technique of the catalogue has: bounded parameters, and an explanation."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class TechniqueCard:
    """What a technique is, in words and one formula, for people who choose."""

    title: str
    formula: str
    in_training: str
    at_inference: str
    when_to_use: str
    cost: str
    pitfall: str
    source: str

    @property
    def short_title(self) -> str:
        """The title without the explanation in parentheses: `L2` for `L2 (ridge)`."""
        return self.title.partition(" (")[0]


class Technique(BaseModel):
    """The parameters of one technique. The class variable `about` explains it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    about: ClassVar[TechniqueCard]
    strength_parameter: ClassVar[str | None] = None
    """The parameter that says how strong it is; None: it is either there or not."""
    group: ClassVar[str]
    """What it acts on: the heading under which a form lists it."""
    model_families: ClassVar[tuple[str, ...]] = ("mlp", "cnn")
    family_advice: ClassVar[str] = ""
    """Why it is for these families alone, and what to choose instead."""
    families_that_need_hidden_units: ClassVar[tuple[str, ...]] = ()
    """Model families in which its main parameter would do nothing in a model without `hidden_units`."""
    static_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters that are compiled in: each value needs a program of its own. Others are variables."""
    switches: ClassVar[tuple[str, ...]] = ()
    """Parameters of which only whether they are zero is compiled in."""
    between_epochs: ClassVar[bool] = False
    """Whether it acts between epochs alone and so is no part of the compiled program."""

    drops_units: ClassVar[bool] = False
    """Whether it is a kind of dropout, which may be active for predictions, too (Gal and Ghahramani 2016)."""

    @property
    def strength(self) -> float:
        """The main parameter's value."""
        return 1.0 if self.strength_parameter is None else float(getattr(self, self.strength_parameter))

    @property
    def is_noop(self) -> bool:
        """Whether it does nothing: then the program is built as if it were not there."""
        return not self.strength
