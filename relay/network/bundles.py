"""A leg whose bundles a network carries, as the stick does otherwise: they stay signed, and sealed for the next site.

What carries them can't read or change them, and learns no more than whoever finds a stick: study, leg and site.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relay.bundle import find
from relay.errors import HandoverError, UserError
from relay.files import expanded, write_bytes
from relay.network.command import Stopped, never, run, study_of

Files = Mapping[str, Any]
"""The bundle's files: their bytes as arrays of ``uint8``, by name."""


def sealed_leg(config: str | Path, number: int, arrived: Files, stopped: Stopped = never) -> dict[str, Any]:
    """Run a site's leg, as ``relay train`` does: receive the previous leg's bundle, train, sign and seal.

    Args:
        config: of a deployment; its ``handoff.receive`` and ``handoff.send`` are folders on this machine.
        number: of the leg in the relay, from 1.
        arrived: the previous leg's bundle; empty for the first leg.
        stopped: whether to give up; what is saved is kept.

    Returns:
        The leg's own bundle. Doing it again gives the same one.

    Raises:
        UserError: the config is not a deployment's, or names no folders.
        RelayError: what ``relay train`` said; it refuses a bundle that was changed, or is for another site.
    """
    config = Path(config).resolve()
    _, outbox = deliver(config, arrived)
    (leg,), handoff = study_of(config).legs, study_of(config).handoff
    run("relay", ["train", "-c", config.name, "-n", f"leg{number}"], config, stopped)
    mine = (handoff.study if handoff else "", number, leg.task_name.lower())
    made = [found.path for found in find(outbox) if (found.study, found.leg, found.site) == mine]
    if not made:
        raise UserError(
            f"{config}: leg {number} is trained, but not sent to {outbox}",
            "The study's policy may ask a person to approve it: relay send. Then give the job again.",
        )
    return {path.name: np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in made}


def deliver(config: str | Path, arrived: Files) -> tuple[Path, Path]:
    """Put a bundle into a site's ``handoff.receive``; return this folder and that of ``handoff.send``.

    Raises:
        UserError: the config is not a deployment's, or names no folders.
        HandoverError: a file has no bundle's name.
    """
    config = Path(config).resolve()
    conf = study_of(config).handoff
    if conf is None or not conf.receive or not conf.send or conf.volume:
        raise UserError(
            f"{config}: a network needs a deployment with folders to put bundles in, and whole bundles",
            "Set current_tasks.mode: deployment, handoff.receive and handoff.send to folders on this machine, and no "
            "handoff.volume.",
        )
    inbox, outbox = (config.parent / expanded(folder) for folder in (conf.receive, conf.send))
    for folder in (inbox, outbox):
        folder.mkdir(parents=True, exist_ok=True)
    odd = [name for name in arrived if Path(name).name != name or not name.endswith((".relay", ".relay.age"))]
    if odd:
        raise HandoverError(
            f"{odd[0][:100]!r} is no bundle's name; nothing was written",
            "Look at the logs of the site before this one: it must send what relay train put into its handoff.send.",
        )
    for name, content in arrived.items():
        write_bytes(inbox / name, np.asarray(content, dtype=np.uint8).tobytes())
    return inbox, outbox
