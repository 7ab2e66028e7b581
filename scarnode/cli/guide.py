"""The text below each command's --help: examples, and exit codes where the command's own help has none."""

from __future__ import annotations

import typer
from typer.main import get_command_name

USUAL_CODES = "Exit codes: 0: done. 2: failed; one line on standard error says why."
ROOT = (
    "Every command has a --help of its own, with examples. Most read config.ini: --config, else the environment "
    "variable SCARNODE_CONFIG, else /etc/scarnode/config.ini.\n\n"
    "scarnode --install-completion adds completion of commands and options to the shell."
)
EXAMPLES: dict[str, tuple[str, ...]] = {
    "serve": ("scarnode serve --config /etc/scarnode/config.ini",),
    "segment": (
        "scarnode segment study/ -o out",
        "scarnode segment archive/ -o out --workers 4",
        "scarnode segment study/ -o out --objects pdf,labelmap --json",
    ),
    "demo": ("scarnode demo", "scarnode demo -o /tmp/scarnode-demo"),
    "phantom": ("scarnode phantom -o phantoms -n 4 --vendor siemens", "scarnode phantom -o test-set --published"),
    "send": (
        "scarnode send study/",
        "scarnode send study/ --to PACS1@10.20.30.40:11112",
        "scarnode send out/ --to pacs --json",
    ),
    "pull": (
        "scarnode pull --accession A123",
        "scarnode pull --date 20260101-20260131 --description '*cardiac*' --from archive --dry-run",
        "scarnode pull --patient P-1 --from archive --get --json",
        "scarnode pull --rule viability",
        "scarnode pull --cohort cohort.csv --from archive --results out.csv",
    ),
    "train": (
        "scarnode train our-contours -o tuned --initial shipped",
        "scarnode train our-contours --emidec data/emidec -o run",
    ),
    "evaluate": (
        "scarnode evaluate cases -o report",
        "scarnode evaluate cases -o report --weights tuned/weights.safetensors",
        "scarnode evaluate --corrections /var/lib/scarnode/results/corrections -o report",
    ),
    "doctor": ("scarnode doctor", "scarnode doctor --no-self-test --json"),
    "alarms": ("scarnode alarms", "scarnode alarms --all --json", "scarnode alarms --test"),
    "jobs list": (
        "scarnode jobs list --state failed",
        "scarnode jobs list --accession A123",
        "scarnode jobs list --calling-ae MR_AVANTO --since 7d",
        "scarnode jobs list --date 20261101-20261130 --limit 500 --json",
    ),
    "jobs show": ("scarnode jobs show 7", "scarnode jobs show 7 --json"),
    "jobs retry": ("scarnode jobs retry 7", "scarnode jobs retry 7 8 12 --json"),
    "jobs cancel": ("scarnode jobs cancel 7 8",),
    "jobs export": (
        "scarnode jobs export -o jobs.csv",
        "scarnode jobs export -o november.csv --state done --date 20261101-20261130",
    ),
    "series list": (
        "scarnode series list --accession A123",
        "scarnode series list --verdict review --since 7d",
        "scarnode series list --patient P-1 --json",
    ),
    "series show": ("scarnode series show 1.3.12.2.1107.5.2.18.41575.2", "scarnode series show --accession A123"),
    "series files": ("scarnode series files 1.3.12.2.1107.5.2.18.41575.1",),
    "series take-out": ("scarnode series take-out 1.3.12.2.1107.5.2.18.41575.1 --patient P-2 -o other-patient",),
    "config check": ("scarnode config check", "scarnode config check -c config.ini --echo"),
    "config init": (
        "scarnode config init",
        "scarnode config init my/config.ini --data my/data",
        "scarnode config init -",
    ),
    "config unit": ("scarnode config unit", "scarnode config unit -", "scarnode config unit --roles -"),
    "db upgrade": ("scarnode db upgrade",),
    "web login": ("scarnode web login", "scarnode web login -c config.ini"),
    "web user": ("scarnode web user anna", "scarnode web user ben --role admin --password-file ben.txt"),
}
"""Examples by command; tests/cli/test_help.py parses each."""


def add_examples(app: typer.Typer, path: tuple[str, ...] = ()) -> None:
    """Return every command of an app, and of the groups in it, its examples and exit codes.

    Parameters
    ----------
    app : typer.Typer
    path : tuple of str
        Names of the groups above it.
    """
    for info in app.registered_commands:
        if info.callback is None:
            continue
        name = " ".join((*path, info.name or get_command_name(info.callback.__name__)))
        lines = ["Examples:", *EXAMPLES.get(name, ())] if name in EXAMPLES else []
        if "xit code" not in (info.callback.__doc__ or ""):
            lines.append(USUAL_CODES)
        info.epilog = "\n\n".join(lines)  # typer prints each paragraph on its own line
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, (*path, group.name) if isinstance(group.name, str) else path)
