"""Options that the hand-over commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from relay.config import fault
from relay.errors import UserError

PLAIN: Any = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def value(text: str | None) -> str | None:
    """Let ``-c=fundus/relay`` mean the same as ``-c fundus/relay``."""
    return text.removeprefix("=") if text else text


def plain_note(text: str) -> str:
    """The name of a run, which is also the name of its folder.

    Raises:
        typer.BadParameter: it can't be one.
    """
    name = text.removeprefix("=")
    if why := fault(name):
        raise typer.BadParameter(f"{name[:100]!r} {why}. Give a plain name, for example: -n first")
    return name


def pattern(flag: str, text: str | None) -> None:
    """Check a regular expression.

    Raises:
        UserError: it is none.
    """
    try:
        re.compile(text or "")
    except re.error as error:
        raise UserError(f"{flag} {text}: not a regular expression: {error}", "For example: '^(p[0-9]+)_'") from None


Home = Annotated[
    Path | None,
    typer.Option("--home", help="This site's own folder. Default: $RELAY_HOME, else ~/.relay.", metavar="DIR"),
]
Study = Annotated[
    str | None, typer.Option("-s", "--study", help="Default: the only one known in --home.", callback=value)
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File with the keys' passphrase, on one line.", metavar="FILE"),
]
To = Annotated[Path, typer.Option("-o", "--to", help="Folder to write to; it must exist.", metavar="FOLDER")]
Yes = Annotated[bool, typer.Option("--yes", help="Answer yes to every question.")]
SomeConfig = Annotated[
    str | None,
    typer.Option("-c", "--config", help="A deployment's config: study, keys and sticks.", callback=value),
]
Fingerprint = Annotated[
    str | None,
    typer.Option(
        "--fingerprint",
        help="The 12 words the coordinator read out. Default: ask.",
        metavar="WORDS",
        callback=value,
    ),
]
RunConfig = Annotated[
    str, typer.Option("-c", "--config", help="Name under configs/ (fundus/relay), or a .yaml file.", callback=value)
]
OfSite = Annotated[
    str | None,
    typer.Option("--site", help="Of several sites' models, this site's: with --model own or auto.", metavar="SITE"),
]
Note = Annotated[str, typer.Option("-n", "--note", help="Names this run: exps/<config>/<note>.", callback=plain_note)]
Gpus = Annotated[
    str | None, typer.Option("-g", "--gpus", help="GPUs to use: 0 or 0,1. Default: the CPU.", callback=value)
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Also log to the screen.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Override the config, e.g. common.train.batch_size=8", metavar="KEY=VALUE"),
]
