"""The composition root: settings in, the gateway out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles

from app import batches, ecgs, events, operations, problems, registry, webhooks
from app.auth import LoginNeeded
from app.bulletin import Bulletin
from app.coalescing import Coalescer
from app.dashboard import pages, views
from app.housekeeping import Housekeeper
from app.in_flight import InFlight
from app.jobs import Dispatcher, Recorder
from app.limits import Backlog, RateLimit
from app.metrics import Metrics
from app.observed import Observed
from app.settings import Settings
from app.store import Store, history, keys, outbox
from app.studies import Studies
from app.waiters import Listener, Waiters
from app.webhooks import Courier
from models.bundle import Bundle, choose
from models.ecg.confined import Readers
from models.wire import LIFETIME

log = logging.getLogger("ecg2cmr")

DESCRIPTION = (
    "A 12-lead ECG in, the cardiac-MRI phenotypes that it implies out. The shipped model was trained on simulated "
    "hearts: **not a medical device**."
)


@dataclass(frozen=True)
class Gateway:
    """What the parts of one running gateway share."""

    settings: Settings
    store: Store
    bundle: Bundle
    metrics: Metrics
    readers: Readers
    studies: Studies
    waiters: Waiters
    dispatcher: Dispatcher
    recorder: Recorder
    listener: Listener
    housekeeper: Housekeeper
    backlog: Backlog
    rate_limit: RateLimit
    courier: Courier
    bulletin: Bulletin


def create_app(settings: Settings) -> FastAPI:
    """Build the gateway. `settings.broker_url` must be set: the command line starts the embedded broker.

    Raises
    ------
    models.bundle.BundleError
        If the model bundle does not verify.
    app.store.StoreUnavailable
        If the store cannot be opened.
    """
    if settings.broker_url is None:
        raise ValueError("the gateway needs a broker: set ECG2CMR_BROKER_URL, or run 'ecg2cmr serve'")
    gateway = _assemble(settings, settings.broker_url)
    app = FastAPI(
        title="ecg2cmr",
        version=version("ecg2cmr"),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0"},
        lifespan=_lifespan,
        docs_url=None,  # Swagger UI and ReDoc load their code from elsewhere; see docs/api.md
        redoc_url=None,
    )
    app.state.gateway = gateway
    problems.install(app)
    app.add_exception_handler(LoginNeeded, _to_login)
    app.add_middleware(Observed)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")
    routed = (batches, ecgs, events, webhooks, registry, operations, views)
    for router in (part.router for part in routed):
        app.include_router(router)
    return app


def _assemble(settings: Settings, broker_url: str) -> Gateway:
    bundle = choose(settings.bundle, settings.artifacts)
    store = Store(settings.store_url, settings.blobs_url)
    store.migrate()
    with store.writing() as connection:
        history.append(connection, bundle.identity)
    first_key(settings, store)
    metrics = Metrics(store, bundle.identity)
    waiters = Waiters()
    dispatcher = Dispatcher(
        store,
        broker_url,
        metrics,
        settings.redispatch_after,
        Coalescer(full=settings.message_ecgs),
        InFlight(bound=settings.wire_bytes, lifetime=LIFETIME),
    )
    return Gateway(
        settings=settings,
        store=store,
        bundle=bundle,
        metrics=metrics,
        readers=Readers(settings.readers),
        studies=Studies(store, bundle, settings.redispatch_after),
        waiters=waiters,
        dispatcher=dispatcher,
        recorder=Recorder(store, broker_url, metrics, waiters, settings.redispatch_after),
        listener=Listener(broker_url, waiters, dispatcher.answered),
        housekeeper=Housekeeper(
            store, settings.keep_uploads_days, settings.keep_studies_days, settings.events_days, bundle.digest
        ),
        backlog=Backlog(store, settings.max_queue),
        rate_limit=RateLimit(settings.rate_limit, settings.rate_limit_url),
        courier=Courier(store, settings),
        bulletin=Bulletin(store, waiters, settings.max_listeners),
    )


def first_key(settings: Settings, store: Store) -> None:
    """Make sure that somebody can get in: ECG2CMR_API_KEY if it is set, else a new development key, once.

    The development key is printed and left in `<data folder>/api-key`, readable by the owner only; delete the file and
    the key ('ecg2cmr admin revoke-key') before anyone else can reach the service.
    """
    with store.writing() as connection:
        if settings.api_key is not None:
            secret = settings.api_key.get_secret_value()
            if keys.find(connection, secret) is None:
                keys.create(connection, name="ECG2CMR_API_KEY", scopes=keys.SCOPES, key=secret)
            return
        if keys.any_exists(connection):
            return
        secret = keys.create(connection, name="development", scopes=keys.SCOPES)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = settings.data_dir / "api-key"
    file.touch(mode=0o600)
    file.write_text(secret + "\n")
    print(f"Development API key (also in {file}): {secret}", flush=True)  # shown once, to the person at the terminal


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    gateway: Gateway = app.state.gateway
    gateway.waiters.attach(asyncio.get_running_loop())
    if not gateway.store.shared:
        with gateway.store.writing() as connection:
            # What was unanswered when we stopped is asked again at once: a doubled answer changes nothing. In a store
            # that others share it may be in their hands: there leases end.
            outbox.make_due(connection)
    gateway.readers.start()
    gateway.recorder.start()
    gateway.listener.start()
    gateway.dispatcher.start()
    gateway.housekeeper.start()
    gateway.courier.start()
    yield
    await asyncio.to_thread(gateway.courier.stop)
    await asyncio.to_thread(gateway.dispatcher.stop)
    await asyncio.to_thread(gateway.recorder.stop)
    await asyncio.to_thread(gateway.listener.stop)
    await asyncio.to_thread(gateway.housekeeper.stop)
    gateway.readers.close()
    gateway.store.close()


def _to_login(request: Request, _error: Exception) -> Response:
    return RedirectResponse(f"/login?next={quote(request.url.path)}", status_code=303)
