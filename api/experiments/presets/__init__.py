"""Ready experiments. Each is a plain experiment document, so that anything in it can be overridden.

`POST /v1/experiments {"preset": NAME, ...overrides}` lays the overrides over the document as a JSON merge
patch (RFC 7396): objects merge, null removes, and lists (variants, seeds) are replaced whole.
"""

from api.experiments.presets.data import DATA
from api.experiments.presets.networks import NETWORKS
from api.experiments.presets.training import TRAINING
from api.experiments.presets.tuned import TUNED
from api.experiments.presets.weights import WEIGHTS
from models.documents import Document, merge_patch
from models.errors import FieldError, InvalidSpec

PRESETS = {preset.document["name"]: preset for preset in NETWORKS + WEIGHTS + DATA + TRAINING + TUNED}


def resolve(document: Document) -> tuple[str | None, Document]:
    """The preset's name and the whole experiment that a posted document means.

    Raises:
        InvalidSpec: there is no such preset.
    """
    if "preset" not in document:
        return None, document
    overrides = dict(document)
    name = overrides.pop("preset")
    if "from" in overrides:
        raise InvalidSpec([FieldError("/from", "give preset or from, not both")])
    if not isinstance(name, str) or name not in PRESETS:
        choices = ", ".join(PRESETS)
        raise InvalidSpec([FieldError("/preset", f"there is no such preset; choose one of {choices}")])
    return name, override(PRESETS[name].document, overrides)


def override(document: Document, overrides: Document) -> Document:
    """An experiment's document with the overrides (RFC 7396) laid over it."""
    underneath = dict(document)
    if overrides.get("replicates") is not None:
        # The two exclude each other: replicates replace the document's seeds.
        underneath.pop("seeds", None)
    return merge_patch(underneath, overrides)  # type: ignore[no-any-return]  # an object over an object
