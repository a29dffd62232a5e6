"""A leg of federated averaging whose weights a server averages: they leave the site unsealed and unsigned.

A site starts from the average of all sites of the round before, as :mod:`relay.strategies.fedavg` does in a ring, and
returns its own weights and the number of its samples. What protects them is the network's own encryption, and the
server sees each site's weights. For a study that does not trust its server, use :mod:`.bundles`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from relay.bundle import disclosed, handover_files
from relay.errors import HandoverError, RelayError, UserError
from relay.leg import Incoming, Progress, RunPaths, Transport, handover_writer
from relay.network.command import Stopped, never, run, study_of

if TYPE_CHECKING:
    from relay.exchange import AcceptanceCheck
    from relay.plan import Leg, Study

Weights = Mapping[str, Any]
"""Arrays by name. Only floating-point ones are averaged, so only these travel."""
STRATEGY = "fedavg"
IN, OUT, SAMPLES = "in.safetensors", "out.safetensors", "samples.json"


def averaged_leg(
    config: str | Path, number: int, average: Weights, note: str = "network", stopped: Stopped = never
) -> tuple[dict[str, Any], int]:
    """Run a site's leg of one round.

    Args:
        config: of a simulation with this site alone, and the strategy ``fedavg``.
        number: of the round, from 1.
        average: of all sites after the round before; empty for the first round, which starts from the config's seed.
        note: the rounds are in ``exps/<config>/<note>-round<N>`` beside the config.
        stopped: whether to give up; what is saved is kept.

    Returns:
        The site's weights, and its training samples in the form that may be disclosed.

    Raises:
        UserError: the config is for something else.
        RelayError: the leg failed; with its message.
    """
    from safetensors.numpy import load_file, save_file

    config = Path(config).resolve()
    _check(study_of(config), config)
    if bool(average) != (number > 1):
        raise UserError(
            f"round {number} came {'with' if average else 'without'} an average; only the first one starts without",
            "Start the job again from its first round.",
        )
    with TemporaryDirectory() as folder:
        place = Path(folder)
        if average:
            save_file({name: np.array(value, order="C") for name, value in average.items()}, place / IN)
        run("relay.network.averages", [config.name, str(number), note, folder], config, stopped)
        return load_file(place / OUT), int(json.loads((place / SAMPLES).read_text()))


def _check(study: Study, config: Path) -> None:
    if study.strategy != STRATEGY or study.mode == "deployment" or len(study.legs) != 1:
        raise UserError(
            f"{config}: a server averages the legs of a simulation with one site and the strategy {STRATEGY}; this is "
            f"a {study.mode} with {len(study.legs)} leg(s) and the strategy {study.strategy}",
            "Set current_tasks.task_ids to this site alone, without laps, and common.strategy.name: fedavg. For any "
            "other strategy, let the network carry sealed bundles.",
        )


class FromServer(Transport):
    """Starts a leg from an average, and hands nothing over: its caller takes the weights."""

    def __init__(self, incoming: Incoming | None) -> None:
        self.incoming = incoming

    def start(self, leg: Leg) -> str | None:
        """Digest of the average."""
        return self.incoming.digest if self.incoming else None

    def receive(self, leg: Leg, weigh: AcceptanceCheck, say: Any) -> Incoming | None:
        """The average, past the acceptance check."""
        if self.incoming:
            weigh(self.incoming.handover, self.own_store(leg), self.policy)
        return self.incoming


def _incoming(leg: Leg, number: int, average: Path, before: Path) -> Incoming:
    """What a round starts from: the average, with what is not averaged as it was here after the round before."""
    import torch
    from safetensors.torch import load_file

    from relay.handover import Handover

    arrived, own = load_file(average), handover_files.load(before).model
    if odd := sorted(set(arrived) - set(own)):
        raise HandoverError(f"the average has weights that the net of this config does not have: {odd[0]}, …")
    shapes = [n for n, t in arrived.items() if t.shape != own[n].shape and (t.numel(), own[n].numel()) != (1, 1)]
    if shapes:
        there, here = tuple(arrived[shapes[0]].shape), tuple(own[shapes[0]].shape)
        raise HandoverError(f"the average's {shapes[0]} has the shape {there}; in this config's net it is {here}")
    model = {
        name: arrived[name].to(mine.dtype).reshape(mine.shape) if name in arrived else mine
        for name, mine in own.items()
    }
    if missing := [name for name, mine in own.items() if torch.is_floating_point(mine) and name not in arrived]:
        raise HandoverError(f"the average lacks weights of this config's net: {missing[0]}, …")
    turns = [
        {"leg": turn, "site": leg.task_name, "strategy": STRATEGY, "train_samples": 0} for turn in range(1, number)
    ]
    facts = {"model": handover_writer.net_of(leg), "data": handover_writer.input_spec(leg), "legs": turns}
    return Incoming(Handover(model, facts=facts), sha256(average.read_bytes()).hexdigest())


def main(config: str, number: int, note: str, folder: Path) -> None:
    """One leg in this process; the weights come from and go to files in a folder."""
    import torch
    from safetensors.torch import save_file

    from relay.simulate import Simulation

    study = study_of(Path(config))
    (leg,) = study.legs
    rounds = [Path("exps") / Path(config).stem / f"{note}-round{turn}" for turn in (number - 1, number)]
    before, here = (RunPaths(root).leg(leg.folder).handover for root in rounds)
    average = folder / IN
    incoming = _incoming(leg, number, average, before) if average.is_file() else None
    simulation = Simulation(study, rounds[1], transport=FromServer(incoming))
    with Progress(simulation.steps) as progress:
        simulation.run(progress)
    made = handover_files.load(here).model
    save_file({name: tensor for name, tensor in made.items() if torch.is_floating_point(tensor)}, folder / OUT)
    samples = disclosed(len(simulation.sites(leg.pool[0], train=True).split.train), Transport.policy)
    (folder / SAMPLES).write_text(json.dumps(samples))


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    except RelayError as error:
        print(f"{error}\nwhat to do: {error.advice()}", file=sys.stderr)
        sys.exit(error.exit_code)
