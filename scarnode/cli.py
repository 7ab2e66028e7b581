"""The commands. Each is thin: it reads the settings, calls a room, and prints."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scarnode import RESEARCH_USE, __version__
from scarnode.errors import ScarnodeError
from scarnode.terminal import Table, printable

if TYPE_CHECKING:
    from scarnode.config import Settings
    from scarnode.jobs import Ledger

app = typer.Typer(
    help=f"Measures scar in late-gadolinium-enhancement short-axis stacks, as a DICOM node. {RESEARCH_USE}.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they would print patient data
)
jobs_app = typer.Typer(help="Ask and move the ledger's jobs.", no_args_is_help=True)
series_app = typer.Typer(help="Why does a series have, or lack, a result?", no_args_is_help=True)
config_app = typer.Typer(help="Check config.ini.", no_args_is_help=True)
db_app = typer.Typer(help="The ledger's schema.", no_args_is_help=True)
for name, sub in (("jobs", jobs_app), ("series", series_app), ("config", config_app), ("db", db_app)):
    app.add_typer(sub, name=name)

out = Console()
err = Console(stderr=True)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="SCARNODE_CONFIG", help="The node's config.ini.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
PLAIN = {"markup": False, "highlight": False, "soft_wrap": True}
CONFIG = Path("/etc/scarnode/config.ini")


def main() -> None:
    """Run the command line; what goes wrong on purpose is one clear line and exit code 2."""
    try:
        app()
    except ScarnodeError as error:
        err.print(
            printable(f"scarnode: {error}", besides="\n"), style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"scarnode {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(config: ConfigOption = CONFIG) -> None:
    """Run the node until SIGTERM."""
    from scarnode.config import read_settings
    from scarnode.node import serve as run

    run(read_settings(config))


@app.command()
def segment(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for SEG, SR and pictures.")],
    weights: Annotated[Path | None, typer.Option(help="A .safetensors file; default: the shipped weights.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    objects: Annotated[
        str, typer.Option(help="Made besides seg, sr and sc: pdf, labelmap, probability (comma-separated).")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Analyse files without a network.

    Exit code 0: at least one stack was analysed. 3: nothing is a short-axis LGE stack. 2: unusable input.
    """
    from scarnode.offline import analyse_files

    kinds = [kind for word in objects.split(",") if (kind := word.strip())]
    outcome = analyse_files(paths, output, weights, device, err, kinds=kinds)
    if as_json:
        print(json.dumps(dataclasses.asdict(outcome), indent=2, default=str))
    else:
        _print_outcome(outcome)
    raise typer.Exit(0 if outcome.stacks else 3)


def _print_outcome(outcome: Any) -> None:
    table = Table("Stack", "Slices", "Scar cm³", "Myocardium cm³", "%LGE", "Flags", "Result", title=RESEARCH_USE)
    for number, stack in enumerate(outcome.stacks, 1):
        table.add_row(
            str(number),
            str(stack.slices),
            _number(stack.scar_volume_cm3),
            _number(stack.myocardium_volume_cm3),
            _number(stack.lge_percent),
            " ".join(stack.flags),
            str(Path(stack.seg).parent),
        )
    if outcome.stacks:
        out.print(table)
    if outcome.rejected:
        rejected = Table("Series Instance UID", "Reason", "Detail", title="Not analysed")
        for row in outcome.rejected:
            rejected.add_row(row.series_uid, row.reason, row.detail)
        out.print(rejected)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("scarnode-demo"),
) -> None:
    """Show the whole walk on this machine: a synthetic LGE study goes in over DICOM, SEG and SR come back."""
    from scarnode.demo import run

    raise typer.Exit(run(output, out))


@app.command()
def phantom(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; one sub-folder per patient.")],
    count: Annotated[int, typer.Option("-n", min=1, help="How many patients.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed makes the same patients.")] = 0,
    vendor: Annotated[str, typer.Option(help="siemens, ge, philips, canon or mix.")] = "mix",
    published: Annotated[bool, typer.Option("--published", help="207 patients of 7 sites, as published.")] = False,
) -> None:
    """Write synthetic LGE series as DICOM, with their true segmentation."""
    from scarnode.lab.phantom import write_cohort, write_published_test_set

    written = write_published_test_set(output) if published else write_cohort(output, count, seed, vendor)
    out.print(f"{len(written)} synthetic patients written to {output}", highlight=False)


@app.command()
def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run; found again, it is continued.")],
    cases: Annotated[
        list[Path] | None, typer.Argument(help="Folders of cases: npz, NIfTI pairs, or DICOM with SEG.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="shipped, paper, or finder (the network that finds the heart).")
    ] = "shipped",
    initial: Annotated[
        str | None, typer.Option(help="Fine-tune: shipped, a .safetensors file, or the folder of a run.")
    ] = None,
    finder: Annotated[
        str | None, typer.Option(help="Where the heart finder comes from; default: as --initial.")
    ] = None,
    emidec: Annotated[Path | None, typer.Option(help="Folder of the EMIDEC set.")] = None,
    acdc: Annotated[Path | None, typer.Option(help="Folder of the ACDC set; LGE contrast is painted on it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Default: the preset's; 600 where --initial is given.")] = None,
    dims: Annotated[int | None, typer.Option(help="3, or 2: every slice for itself.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of the patients kept for the evaluation.")] = 0.2,
    seed: Annotated[int, typer.Option(help="The same seed and cases train the same network.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all cores.")] = 0,
) -> None:
    """Train the network, or fine-tune it with your own contours: weights and their card come out (docs/training.md).

    Ctrl-C stops it, the same command goes on. A GPU is used when there is one.
    """
    from scarnode.lab.run import plan, train_and_pack

    options = {"emidec": emidec, "acdc": acdc, "initial": initial, "steps": steps, "dims": dims, "held_out": held_out}
    settings = plan(cases or [], output, preset_name=preset, seed=seed, threads=threads, **options)
    command = " ".join(["scarnode", *(Path(word).name for word in sys.argv[1:])])  # paths would tell of the machine
    columns = (TextColumn("{task.fields[loss]}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps,"))
    with Progress(*columns, TimeRemainingColumn(), TextColumn("to go"), console=out) as bar:
        task = bar.add_task("", total=None, loss="reading cases")

        def watch(done: int, loss: float) -> None:
            if bar.tasks[0].total is None:  # a continued run: its earlier steps say nothing of today's pace
                bar.reset(task, total=settings.steps, completed=done - 1)
            bar.update(task, completed=done, loss=f"loss {loss:.3f}")

        try:
            weights = train_and_pack(settings, finder=finder, command=command, watch=watch, say=bar.console.print)
            bar.update(task, visible=bar.tasks[0].total is not None)
        except KeyboardInterrupt:
            bar.stop()
            out.print(f"stopped; the same command goes on with what lies in {output}", highlight=False)
            raise typer.Exit(130) from None
    _print_metrics(weights)


def _print_metrics(weights: Path) -> None:
    from scarnode.segment.card import read_card

    card = read_card(weights)
    columns = {
        "Dice blood": "dice_blood",
        "Dice myocardium": "dice_myocardium",
        "Dice scar": "dice_scar",
        "%LGE bias": "lge_bias_points",
        "False scar %": "false_scar_percent_median",
    }
    table = Table("Held-out set", "", "Cases", *columns, title=RESEARCH_USE)
    for source, after in card["metrics"].items():
        rows = {"before": after.get("before"), "after": after} if "before" in after else {"": after}
        for name, row in rows.items():
            values = ["" if row.get(key) is None else f"{row[key]:.3f}" for key in columns.values()]
            table.add_row(source, name, str(row["cases"]), *values)
    out.print(table if card["metrics"] else "no case was held out: nothing is known of how good these weights are")
    out.print(
        f"{weights}: {card['name']} {card['version']}, licence: {card['licence']}", highlight=False, soft_wrap=True
    )
    out.print(f"to use them: [segment] weights = {weights.resolve()}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def evaluate(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for report.md, results.json and figures.")],
    cases: Annotated[list[Path] | None, typer.Argument(help="Folders of cases with contours, a set each.")] = None,
    corrections: Annotated[
        Path | None, typer.Option(help="The node's results/corrections: readers against the network, by month.")
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="A .safetensors file; several stand side by side. Default: shipped.")
    ] = None,
    merge: Annotated[
        list[str] | None, typer.Option(help="Merge of overlapping windows for scar: mean, or max as published.")
    ] = None,
    look: Annotated[
        list[str] | None, typer.Option(help="Also under this look: darkened, rectified, finer, sparser, or all.")
    ] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="Only the fifth that training holds out.")] = False,
    methods: Annotated[bool, typer.Option(help="Also the intensity methods (n-SD, FWHM, Otsu, mixture).")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Compare networks and intensity methods with an expert's contours: the published evaluation and more."""
    import shlex

    from rich.progress import track

    if corrections is not None:
        from scarnode.lab.corrections import evaluate_corrections

        out.print(f"{evaluate_corrections(corrections, output)} · {RESEARCH_USE}", highlight=False, soft_wrap=True)
    if not cases:
        if corrections is None:
            raise ScarnodeError("no case is given", "evaluate", "give folders of cases, or --corrections FOLDER")
        return
    from scarnode.lab.evaluation import LOOK_NAMES, EvaluationSettings, run

    looks = LOOK_NAMES if "all" in (look or ()) else tuple(look or ())
    command = shlex.join(["scarnode", *sys.argv[1:]])
    settings = EvaluationSettings(
        tuple(cases),
        output,
        tuple(weights or ()),
        tuple(merge or ("mean",)),
        looks,
        held_out,
        methods,
        device,
        command,
    )
    report = run(settings, lambda some, what: track(some, what, console=err))
    out.print(f"{report} · {RESEARCH_USE}", highlight=False, soft_wrap=True)


@config_app.command("check")
def config_check(
    config: ConfigOption = CONFIG,
    echo: Annotated[
        bool, typer.Option("--echo", help="Also ask every destination whether it is there (C-ECHO, or QIDO-RS).")
    ] = False,
) -> None:
    """Say whether config.ini can be used, and if not, every reason why.

    With --echo exit code 1: a destination did not answer as it should.
    """
    from scarnode import deliver
    from scarnode.config import read_settings
    from scarnode.tls import check_identity

    settings = read_settings(config)
    out.print(f"{config}: good. AE {settings.node.ae_title} on port {settings.node.port}.", highlight=False)
    if settings.tls.port:
        callers = "callers show a certificate" if settings.tls.mutual else "callers need no certificate"
        plain = "; the other port stays closed" if settings.tls.only else ""
        out.print(f"TLS on port {settings.tls.port}: {callers}{plain}.", **PLAIN)
    if identity := settings.tls.identity():
        ends = datetime.fromtimestamp(check_identity(identity), timezone.utc)
        out.print(f"certificate: valid until {ends:%Y-%m-%d %H:%M} UTC", **PLAIN)
    peers = list(settings.peers().values())
    for peer in peers:
        out.print(f"destination {peer.name}: {peer} takes {', '.join(peer.objects)}", **PLAIN)
    if echo:
        from scarnode.logs import keep_quiet_about_patients

        keep_quiet_about_patients()
        answers = [(peer.name, deliver.echo(peer, settings.node.ae_title)) for peer in peers]
        for name, answer in answers:
            out.print(f"destination {name}: {'good' if answer.ok else 'NOT GOOD'}. {answer.detail}", **PLAIN)
        raise typer.Exit(0 if all(answer.ok for _, answer in answers) else 1)


@db_app.command("upgrade")
def db_upgrade(config: ConfigOption = CONFIG) -> None:
    """Bring the ledger's schema up to this version's (`serve` does so too)."""
    _open(config)[1].close()
    out.print("the ledger is up to date")


@jobs_app.command("list")
def jobs_list(
    config: ConfigOption = CONFIG,
    state: Annotated[str, typer.Option(help="queued, running, delivering, done, failed, held or superseded.")] = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    from scarnode.jobs import queries

    settings, ledger = _open(config)
    rows = queries.list_jobs(ledger, state, patient, accession, limit)
    _tell_access(settings, rows)
    if as_json:
        _print_json(rows)
        return
    table = Table(
        "Job", "State", "Priority", "By", "Patient ID", "Accession", "Slices", "Scar cm³", "%LGE", "Made", "Why"
    )
    for row in rows:
        table.add_row(
            str(row.job),
            row.state,
            row.priority,
            row.origin,
            row.patient_id,
            row.accession_number,
            str(row.slices),
            _number(row.scar_volume_cm3),
            _number(row.lge_percent),
            _time(row.created_at),
            row.reason,
        )
    out.print(table)


@jobs_app.command("show")
def jobs_show(job: int, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Tell a job's whole story: numbers, deliveries, and every change with its reason."""
    from scarnode.jobs import queries

    settings, ledger = _open(config)
    summary = queries.get_job(ledger, job)
    _tell_access(settings, [summary])
    deliveries, events = queries.list_deliveries(ledger, job), queries.list_events(ledger, job)
    if as_json:
        print(json.dumps({k: _plain(v) for k, v in (("job", summary), ("deliveries", deliveries), ("events", events))}))
        return
    facts = Table(show_header=False, title=f"Job {job} · {RESEARCH_USE}")
    for key, value in _plain(summary).items():
        facts.add_row(key.replace("_", " "), _time(value) if key.endswith("_at") and value else str(value))
    out.print(facts)
    table = Table("Destination", "Object", "State", "Attempts", "Detail", "Commitment", title="Deliveries")
    for row in deliveries:
        commitment = f"{row.commitment}: {row.commitment_detail}" if row.commitment else ""
        table.add_row(row.destination, row.kind, row.state, str(row.attempts), row.detail, commitment)
    out.print(table)
    story = Table("When", "Who", "From", "To", "Why", title="Story")
    for row in events:
        story.add_row(_time(row.at), row.actor, row.from_state, row.to_state, row.why)
    out.print(story)


@jobs_app.command("retry")
def jobs_retry(job: int, config: ConfigOption = CONFIG) -> None:
    """Analyse a failed job again; release a held one; send a job's results again."""
    settings, ledger = _open(config)
    state = ledger.retry(job, settings.objects())
    out.print(f"job {job} is {state.value}", highlight=False)


@jobs_app.command("cancel")
def jobs_cancel(job: int, config: ConfigOption = CONFIG) -> None:
    """End a job that has not ended; what was sent stays sent."""
    _open(config)[1].cancel(job)
    out.print(f"job {job} is superseded", highlight=False)


@jobs_app.command("export")
def jobs_export(
    output: Annotated[Path, typer.Option("--output", "-o", help="A CSV file.")], config: ConfigOption = CONFIG
) -> None:
    """Write all jobs with their numbers as CSV. Holds patient data: the file is readable by you alone."""
    from scarnode.jobs import queries

    settings, ledger = _open(config)
    rows = queries.list_jobs(ledger, limit=sys.maxsize)
    _tell_access(settings, rows, output)
    output.touch(mode=0o600)
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(queries.JobSummary)])
        writer.writeheader()
        writer.writerows(_plain(rows))
    out.print(f"{len(rows)} jobs written to {output}", highlight=False)


@app.command()
def alarms(
    config: ConfigOption = CONFIG,
    past: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what needs an admin, e.g. a disk that is near full. Exit code 1: an alarm stands."""
    from scarnode.jobs import queries

    rows = queries.list_alarms(_open(config)[1], past)
    if as_json:
        _print_json(rows)
    else:
        table = Table("Alarm", "Since", "Until", "Detail")
        for row in rows:
            table.add_row(row.name, _time(row.raised_at), _time(row.cleared_at) if row.cleared_at else "", row.detail)
        out.print(table if rows else "no alarm")
    raise typer.Exit(1 if any(row.cleared_at is None for row in rows) else 0)


@series_app.command("list")
def series_list(
    config: ConfigOption = CONFIG,
    study: Annotated[str, typer.Option(help="Study Instance UID.")] = "",
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 200,
    as_json: JsonOption = False,
) -> None:
    """List every series received and what became of it; then what could not be read at all."""
    from scarnode.jobs import queries

    settings, ledger = _open(config)
    rows, unreadable = queries.list_series(ledger, study, accession, patient, limit), queries.list_unreadable(ledger)
    _tell_access(settings, rows)
    if as_json:
        print(json.dumps({"series": _plain(rows), "unreadable": _plain(unreadable)}))
        return
    table = Table("Series Instance UID", "Description", "Images", "Verdict", "Reason", "Detail")
    for row in rows:
        table.add_row(row.series_instance_uid, row.description, str(row.instances), row.verdict, row.reason, row.detail)
    out.print(table)
    if unreadable:
        table = Table("SOP Instance UID", "From", "Received", "Problem", title="Not readable")
        for row in unreadable:
            table.add_row(row.sop_instance_uid, row.calling_ae, _time(row.received_at), row.problem)
        out.print(table)


@series_app.command("show")
def series_show(series: str, config: ConfigOption = CONFIG) -> None:
    """Explain the verdict on one series (give its Series Instance UID)."""
    from scarnode.jobs import queries
    from scarnode.stack import REASONS

    settings, ledger = _open(config)
    rows = queries.list_one_series(ledger, series)
    if not rows:
        raise ScarnodeError(
            "no such series was searched", series, "It may still be arriving, or never came: see scarnode series list"
        )
    _tell_access(settings, rows)
    for row in rows:
        facts = Table(show_header=False, title=f"{row.verdict}: {row.reason}")
        for key, value in _plain(row).items():
            facts.add_row(key.replace("_", " "), _time(value) if key.endswith("_at") else str(value))
        facts.add_row("meaning", REASONS.get(row.reason, ""))
        out.print(facts)


@series_app.command("files")
def series_files(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List a study's files in the spool, each with its patient: which is the wrong one?"""
    from scarnode.jobs import queries
    from scarnode.receive import describe

    settings, ledger = _open(config)
    spool = settings.spool.path
    rows = [
        describe(spool, spool / row.path) for row in queries.list_files(ledger, study) if (spool / row.path).exists()
    ]
    if not rows:
        raise ScarnodeError("no file of this study lies in the spool", study, "See: scarnode series list")
    if as_json:
        _print_json(rows)
        return
    table = Table("File", "SOP Instance UID", "From", "Received", "Patient ID", "Patient", title=str(spool))
    for row in rows:
        received = _time(row.received_at)
        table.add_row(row.path, row.sop_instance_uid, row.calling_ae, received, row.patient_id, row.patient_name)
    out.print(table)


def _open(config: Path) -> tuple[Settings, Ledger]:
    from scarnode.config import read_settings
    from scarnode.jobs import Ledger

    settings = read_settings(config)
    return settings, Ledger(settings.ledger.url, actor=f"command line, user {_user()}")


def _tell_access(settings: Settings, rows: Sequence[Any], file: Path | None = None) -> None:
    """Record who was shown whose data, or wrote it to a file, before it happens: there is no access without a trace."""
    from scarnode.audit import Participant, Subject, events

    trail = settings.audit_trail()
    if not trail.on:
        return
    subjects = [
        Subject(row.study_instance_uid, row.patient_id, getattr(row, "patient_name", ""), row.accession_number)
        for row in rows
    ]
    user, host = _user(), trail.source.host
    behind = os.environ.get("SUDO_USER", "")
    person = Participant(f"{user}@{host}", user_name=f"{behind} as {user}" if behind else user, address=host)
    messages = events.exported(trail.source, person, subjects, file) if file else None
    for message in messages or events.accessed(trail.source, person, subjects):
        trail.record(message)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, e.g. in a container
        return "unknown"


def _plain(value: Any) -> Any:
    return [_plain(row) for row in value] if isinstance(value, list) else dataclasses.asdict(value)


def _print_json(rows: list) -> None:
    print(json.dumps(_plain(rows)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


if __name__ == "__main__":
    main()
