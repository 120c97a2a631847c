"""What concerns this machine's installation: `regbench up`, `demo`, `prune`, `backup`, `doctor` ..."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from models.dataset_cards import DatasetName
from models.settings import Settings
from regbench.cli.options import (
    FAILED,
    SUCCEEDED,
    AsJson,
    Url,
    echo_message,
    interrupt_on_signals,
    make_stderr_console,
    show_status,
    write,
    write_json,
)
from regbench.connection import find_address_and_key, is_loopback
from regbench.local.backup import write_backup
from regbench.local.demo import run_demo
from regbench.local.doctor import Finding, Health, examine
from regbench.local.ports import find_free_port
from regbench.local.stack import are_keys_required, run_stack


def up(
    host: Annotated[
        str, typer.Option(help="Address to listen on; except on loopback, every request needs an API key.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8000,
    as_json: Annotated[
        bool, typer.Option("--json", help="When ready, print the URL and the process id as JSON.")
    ] = False,
) -> None:
    """Serve the API and train jobs until Ctrl-C.

    \b
    Examples:
      regbench up
      regbench up --port 9000
    """
    settings = Settings()
    if not are_keys_required(settings, host) and not is_loopback(host):
        echo_message(
            f"Warning: API keys are turned off, so anyone who can reach {host} can use this service."
        )
    started = time.monotonic()
    try:
        with (
            interrupt_on_signals(),
            run_stack(settings, host, port or find_free_port(host), echo=echo_message) as stack,
        ):
            stack.wait_until_ready(echo_message)
            echo_message(f"Ready in {time.monotonic() - started:.0f} s: {stack.url} (Ctrl-C stops it)")
            echo_message(f"Logs: {settings.home / 'logs'}")
            if as_json:
                typer.echo(json.dumps({"url": stack.url, "pid": os.getpid()}))
            while True:
                stack.check()
                time.sleep(0.5)
    except KeyboardInterrupt:
        echo_message("Stopped. Running jobs will continue at the next start.")


def demo(
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Default: mnist if it is available, else mnist_5k.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Default: 10, as in the preset.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the dropout comparison on a separate, temporary service and print the report.

    \b
    Example:
      regbench demo --dataset mnist_5k --epochs 3
    """
    settings = Settings()
    started = time.monotonic()
    with interrupt_on_signals():
        report = run_demo(settings, make_stderr_console(), echo_message, dataset=dataset, epochs=epochs)
    folder = settings.home / "demo"
    write((folder / "report.json").read_bytes() if as_json else report.encode())
    echo_message(
        f"Done in {time.monotonic() - started:.0f} s: {folder / 'report.html'}, report.md and report.json."
    )


def prune(
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=36_500,
            help="Also remove models and predictions of jobs that finished this many days ago; 0: none. "
            "Default: REGBENCH_KEEP_ARTIFACTS_DAYS.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only show what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what is no longer needed: checkpoints of ended jobs, old models, unused datasets.

    \b
    Example:
      regbench prune --days 30 --dry-run
    """
    from regbench.local import installation  # noqa: PLC0415 (needs the service's packages)

    with show_status("Checking the files"):
        settings = Settings()
        pruned = installation.prune(settings, days=days, dry_run=dry_run)
        datasets = installation.prune_datasets(settings, dry_run=dry_run)
    if as_json:
        write_json(asdict(pruned) | {"datasets": datasets, "dry_run": dry_run})
        return
    outcome = "would be removed" if dry_run else "removed"
    if datasets:
        typer.echo(f"Datasets {outcome}: {', '.join(datasets)}.")
    typer.echo(f"{pruned.files} file(s), {pruned.bytes / 1e6:.1f} MB {outcome}.")
    if pruned.unknown:
        typer.echo(
            f"{pruned.unknown} file(s) belong to jobs that are not in this database, and were kept. "
            "Is it the right database?"
        )


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; it must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Write this machine's installation (database, models, datasets) into one file, while it runs or not.

    \b
    Example:
      regbench backup regbench-backup.zip
    """
    settings = Settings()
    with show_status("Backing up") as status:
        written = write_backup(settings, file, lambda step: status.update(f"{step} ..."))
    if as_json:
        write_json(asdict(written) | {"file": str(file)})
    echo_message(f"Wrote {file}: {written.files:,} files, {written.bytes / 1e6:,.1f} MB before compression.")
    echo_message("Anyone with this file can read all jobs, and secrets of webhooks that are not encrypted.")
    if written.damaged:
        echo_message(
            f"{len(written.damaged)} file(s) were damaged before the backup: their content is not what the "
            f"database recorded. The first: {written.damaged[0]}"
        )
        raise typer.Exit(FAILED)


def restore(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What `regbench backup` wrote."),
    ],
    as_json: AsJson = False,
) -> None:
    """Restore a backup into the home folder, which must not have an installation. Checks every file's digest.

    \b
    Example:
      regbench restore regbench-backup.zip
    """
    from regbench.local import installation  # noqa: PLC0415 (needs the service's packages)

    settings = Settings()
    with show_status("Restoring") as status:
        restored = installation.restore(settings, file, lambda step: status.update(f"{step} ..."))
    if as_json:
        write_json(asdict(restored) | {"home": str(settings.home)})
    echo_message(f"Restored {restored.files:,} files of {restored.created_at} into {settings.home}.")
    current = settings.model_dump(mode="json")
    missing = {name: value for name, value in restored.settings.items() if current.get(name, value) != value}
    if missing:
        pairs = " ".join(f"REGBENCH_{name.upper()}={value}" for name, value in missing.items())
        echo_message(f"Set as when the backup was made, and not now: {pairs}")


def doctor(url: Url = None, as_json: AsJson = False) -> None:
    """Check this installation and show how to fix problems. The exit code is 1 if there are any.

    \b
    Example:
      regbench doctor
    """
    console = Console()
    findings: list[Finding] = []
    # Each line as soon as it is known: some checks take seconds.
    with show_status("Checking") as status:
        address, _ = find_address_and_key(url, None)
        for finding in examine(Settings(), address, lambda area: status.update(f"Checking {area} ...")):
            findings.append(finding)
            if not as_json:
                # While the spinner moves, rich redirects stdout to stderr.
                status.stop()
                line = Text(f"{finding.health:<8}", _STYLES[finding.health])
                console.print(line + Text(f"{finding.name}: {finding.message}"), soft_wrap=True)
                if finding.fix:
                    console.print(Text(f"{'':8}  -> {finding.fix}"), soft_wrap=True)
                status.start()
    is_healthy = all(finding.health is not Health.FAULT for finding in findings)
    if as_json:
        documents = [asdict(finding) | {"fix": finding.fix or None} for finding in findings]
        write_json({"healthy": is_healthy, "findings": documents})
    raise typer.Exit(SUCCEEDED if is_healthy else FAILED)


_STYLES = {Health.OK: "green", Health.WARNING: "yellow", Health.FAULT: "bold red"}
