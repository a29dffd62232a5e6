"""``relay data cache``: list and clear the prepared images that are kept on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from relay.cli import ask
from relay.cli.options import PLAIN
from relay.cli.top import command
from relay.errors import UserError

if TYPE_CHECKING:
    from relay.data import Cache

cache_app = typer.Typer(no_args_is_help=True, help="Prepared images on disk, in the folder RELAY_CACHE.", **PLAIN)


@cache_app.command("list")
@command
def show() -> None:
    """Say where the cache is, how many entries it has, and how large it is."""
    cache = _cache()
    entries = cache.entries()
    ask.say(f"{cache.folder}: {len(entries)} entries, {cache.size() / 1e9:.3g} of {cache.most / 1e9:g} GB")
    for path in reversed(entries):
        ask.say(f"  {path.name}")


@cache_app.command()
@command
def clear() -> None:
    """Remove all entries. The next run reads its images from their own files again."""
    cache = _cache()
    ask.say(f"{cache.folder}: removed {cache.clear()} entries")


def _cache() -> Cache:
    from relay.data import Cache

    cache = Cache.of_environment()
    if cache is None:
        raise UserError(
            "there is no image cache: RELAY_CACHE is not set",
            "Set RELAY_CACHE to a folder on a local disk that only you can read, for example with "
            "export RELAY_CACHE=~/.cache/relay",
        )
    return cache
