"""Adding seeds and variants to an experiment that is there."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from models.dataset_spec import Seed
from models.documents import Document
from models.experiments import MOST_SEEDS, MOST_VARIANTS, Variant
from models.spec import bound_length
from models.stopping_rules import get_closed


class Extension(BaseModel):
    """What `POST /v1/experiments/{id}/extend` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seeds: Annotated[
        tuple[Seed, ...], Field(strict=False, max_length=MOST_SEEDS), bound_length(MOST_SEEDS)
    ] = Field((), description="Seeds to add for every variant; existing ones are skipped")
    replicates: int | None = Field(
        None, ge=1, le=MOST_SEEDS, description="Instead of `seeds`: the seeds 0 to replicates - 1"
    )
    variants: Annotated[
        tuple[Variant, ...], Field(strict=False, max_length=MOST_VARIANTS), bound_length(MOST_VARIANTS)
    ] = Field((), description="Variants to add, each with every seed")

    @model_validator(mode="after")
    def check_consistency(self) -> Self:
        if self.replicates is not None and self.seeds:
            detail = "give seeds or replicates, not both"
            raise PydanticCustomError(
                "contradiction", "{detail}", {"pointer": "/replicates", "detail": detail}
            )
        return self

    def apply_to(self, document: Document) -> Document:
        """An experiment's document with what this adds to it."""
        added = range(self.replicates) if self.replicates else self.seeds
        seeds = list(dict.fromkeys([*document["seeds"], *added]))
        # Who adds seeds adds them to every variant.
        reopened = get_closed(document) and len(seeds) > len(document["seeds"])
        return (
            document
            | {
                # An experiment from before this field keeps its one split.
                "split_per_seed": document.get("split_per_seed", False),
                "seeds": seeds,
                "variants": [
                    *document["variants"],
                    *(variant.model_dump(mode="json") for variant in self.variants),
                ],
            }
            | ({"stopping_rule": document["stopping_rule"] | {"closed": {}}} if reopened else {})
        )
