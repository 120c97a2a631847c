"""The page on which a user uploads datasets, sees them before they are stored, and removes them."""

from fastapi import APIRouter, Response

from api.dashboard.rendering import PageRoute, RenderPageDep
from api.datasets.routes import serialize_uploaded
from api.datasets.schemas import DatasetOptions
from api.http.dependencies import CallerDep, DatabaseDep
from models.store.datasets import find_datasets

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/new/dataset")
def show_dataset_form(render: RenderPageDep, caller: CallerDep, database: DatabaseDep) -> Response:
    """The form for a dataset, and the caller's datasets."""
    with database.read() as session:
        uploaded = [serialize_uploaded(row) for row in find_datasets(session, caller.owner)]
    help_texts = {name: field.description for name, field in DatasetOptions.model_fields.items()}
    return render("new_dataset.html.jinja", tab="dataset", uploaded=uploaded, help=help_texts)
