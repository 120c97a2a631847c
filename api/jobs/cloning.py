"""Jobs and experiments made from stored ones: `{"from": ID, ...overrides}`, a JSON merge patch (RFC 7396)."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from api.http.dependencies import parse_id
from models.documents import Document
from models.errors import FieldError, InvalidSpec, NotFound
from models.store.transitions import get_job


def load_source(
    session: Session, document: Document, load: Callable[[Session, str], Document]
) -> tuple[Document, Document]:
    """The stored document that `from` names, by `load`, and the overrides.

    Raises:
        InvalidSpec: it names nothing that there is.
    """
    overrides = dict(document)
    source = overrides.pop("from")
    for part in (overrides, overrides.get("base")):
        dataset = part.get("dataset") if isinstance(part, dict) else None
        if isinstance(dataset, dict) and "name" in dataset:
            dataset.setdefault("content", None)  # not that of the source's dataset
    try:
        return load(session, parse_id("job or experiment", str(source))), overrides
    except NotFound as error:
        raise InvalidSpec([FieldError("/from", error.message)]) from None


def load_job_document(session: Session, job_id: str) -> Document:
    """A job's specification.

    Raises:
        NotFound: there is no such job.
    """
    return get_job(session, job_id).spec
