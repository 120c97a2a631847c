"""Pages for those who manage access and messages: API keys, and webhooks with their deliveries."""

from fastapi import APIRouter, Response

from api.api_keys import AdminDep
from api.dashboard.rendering import PageRoute, RenderPageDep
from api.http.dependencies import CallerDep, DatabaseDep, SettingsDep
from models.scopes import Scope
from models.states import TERMINAL
from models.store import keys as key_store
from models.store import webhooks as webhook_store

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MAX_KEYS = 500
_DELIVERIES = 20


@router.get("/keys")
def list_keys(render: RenderPageDep, _: AdminDep, database: DatabaseDep, settings: SettingsDep) -> Response:
    """All API keys, newest first, and the form for a new one."""
    with database.read() as session:
        keys = key_store.list_keys(session, limit=_MAX_KEYS + 1)
    return render(
        "keys.html.jinja",
        keys=[(row, key_store.get_scope(row)) for row in keys[:_MAX_KEYS]],
        has_more=len(keys) > _MAX_KEYS,
        scopes=list(Scope),
        needed=settings.api_keys_required != "false",
    )


@router.get("/webhooks")
def list_webhooks(render: RenderPageDep, caller: CallerDep, database: DatabaseDep) -> Response:
    """The caller's webhooks with their latest deliveries, and the form for a new one."""
    with database.read() as session:
        webhooks = [
            (row, webhook_store.get_deliveries(session, row.id, limit=_DELIVERIES))
            for row in webhook_store.get_all_webhooks(session)
        ]
    return render(
        "webhooks.html.jinja",
        webhooks=webhooks,
        states=TERMINAL,
        can_write=caller.scope is None or caller.scope.includes(Scope.WRITE),
    )
