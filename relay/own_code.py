"""A training script of your own as a leg: receive, train however you like, hand back.

::

    with open_leg("study.yaml", code="my trainer 1.2") as leg:
        net = leg.net()                 # the study's net, with the weights that the training starts from
        train(net, leg.train, leg.val)  # your own code
        leg.finish(net)                 # tested, checked, written, signed: as relay train does

Your code takes the place of the phase that trains the model, and of nothing else. What arrives is verified, the split
is the study's, and relay tests the model on the test images, fits the strategy's expert and memory, and writes the same
handover. The signed statement says that the site's own code trained the model, and which. What only the code knows is
not claimed for it: that a training can be repeated, its precision, a guarantee of privacy.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from torch import Tensor, nn
from typing_extensions import Self

from relay.config import choose, locate
from relay.data import Split, Store, scaled
from relay.errors import HandoverError, UserError, some
from relay.handover import MemoryState
from relay.leg import (
    Progress,
    RunPaths,
    Trained,
    check_own_code,
    handover_writer,
    model_of,
    start_of,
)
from relay.plan import Leg, Study, read_config
from relay.report import write_report
from relay.results import matrix, of_model
from relay.seeds import derive
from relay.simulate import Simulation

__all__ = ["Images", "OpenLeg", "open_leg"]
INSIDE = ("weights", "memories", "split", "train", "val", "_net")
"""What an open leg has."""


class NotOpen(UserError, AttributeError):
    """What only an open leg has was asked of another; ``hasattr`` answers False."""


_held_here: set[Path] = set()
"""The runs of which this process has a leg open."""


def open_leg(
    config: str | Path,
    *,
    code: str,
    site: str | None = None,
    note: str = "run",
    gpus: str | None = None,
    overrides: Sequence[str] = (),
) -> OpenLeg:
    """The next leg of a config, to be trained by your own code in a ``with`` block.

    Args:
        config: as ``relay train -c`` takes it.
        code: name and version of your code, for the signed statement: ``nnU-Net 2.8.1``.
        site: whose leg; None for the next one that is not finished.
        note: the run's folder is ``exps/<config>/<note>``, which ``relay train -n`` shares.
        gpus: as ``relay train -g``: for relay's own part, the tests and what the strategy fits beside the model.
        overrides: ``KEY=VALUE``, as on the command line.

    Raises:
        UserError: the config is wrong, there is no such leg, it is finished, or ``relay train`` has begun it.
    """
    path, name = locate(str(config))
    devices, problems = choose(gpus)
    study = read_config(path, name, overrides).plan(problems)
    root = Path("exps") / name / note
    leg = replace(_next(study, RunPaths(root), site), own_code=code)
    study = replace(study, legs=tuple(leg if other.number == leg.number else other for other in study.legs))
    return OpenLeg(Simulation(study, root, devices), leg)


def _next(study: Study, run: RunPaths, site: str | None) -> Leg:
    """The first unfinished leg, of a site if one is given.

    Raises:
        UserError: there is none, ``relay train`` has begun it, or it starts from a leg that is not finished.
    """
    legs = [leg for leg in study.legs if site in (None, leg.task_name)]
    if not legs:
        names = ", ".join(dict.fromkeys(leg.task_name for leg in study.legs))
        raise UserError(f"{study.name} has no leg of site {site!r}", f"Its sites are: {names}.")
    waiting = [leg for leg in legs if not run.leg(leg.folder).finished]
    if not waiting:
        raise UserError(
            f"every leg of {site or study.name} in {run.root} is finished",
            "To hand over: relay train with the same -c and -n, or relay send. To train another leg, use a new note.",
        )
    paths = run.leg(waiting[0].folder)
    if paths.begun and not paths.record().get("own_code"):
        raise UserError(
            f"relay train has begun leg {waiting[0].number} in {paths.root}",
            f"Let relay train finish it. Or use a new note, or remove {paths.root} to train it with your own code.",
        )
    if (start := waiting[0].start) and not run.leg(start).finished:
        raise UserError(
            f"leg {waiting[0].number} ({waiting[0].task_name}) starts from {start}, which is not finished",
            "Finish that leg first, with the same config and note: with your own code, or with relay train.",
        )
    return waiting[0]


class Images(torch.utils.data.Dataset[dict[str, Any]]):
    """Prepared images of a split, one by one.

    An item has ``image``, float ``(C, *S)``, scaled to the config's ``intensity_range``; ``label``, as the study's
    losses want it; ``index``, into ``store.samples``.

    Attributes:
        store: the images as stored, with their records, spacings and shapes.
    """

    def __init__(self, store: Store, leg: Leg) -> None:
        self.store, self._data = store, leg.data

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, target = (torch.from_numpy(array.copy()) for array in self.store[index])
        label = self._data.does.label(target[None])[0]
        return {"image": scaled(image.movedim(-1, 0), self._data.intensity_range), "label": label, "index": index}


class OpenLeg:
    """A leg that waits for the weights that your code trains: see :func:`open_leg`. What follows is there inside the
    ``with`` block.

    Attributes:
        site: the site's name.
        number: its place in the order, from 1.
        weights: what arrived, by name: the previous site's model. None in a leg that starts from nothing.
        memories: the newest memory of each other site that has one, by site: tensors and facts.
        split: which records, with their files and patients, are in ``train``, ``val`` and ``test``. Train on ``train``
            only.
        train, val: the prepared images of these splits.
        config: the study's options that a result may depend on, flat: ``config["train.batch_size"]``. Your code may
            follow those of ``train``, which relay uses for what it fits itself.
        seed: for this leg, from the study's; use it or not.
    """

    site: str
    number: int
    weights: Mapping[str, Tensor] | None
    memories: Mapping[str, MemoryState]
    split: Split
    train: Images
    val: Images
    config: Mapping[str, Any]
    seed: int

    def __init__(self, simulation: Simulation, leg: Leg) -> None:
        self._simulation, self._leg = simulation, leg
        self._held, self._folder = ExitStack(), Path.cwd()
        self._open = self._finished = False
        self.site, self.number = leg.task_name, leg.number
        self.config = handover_writer.scientific(leg)
        self.seed = derive(leg.conf.random_seed, leg.task_name, "own code")

    def __enter__(self) -> Self:
        """Check everything that can be checked before training, read the images, and receive.

        Raises:
            RelayError: the leg can't be run here, what arrived is refused, or something is asked of the leg that nobody
                can promise for code that relay does not know.
        """
        leg, simulation = self._leg, self._simulation
        transport, run = simulation.transport, self._folder / simulation.run_paths.root
        if run in _held_here:
            raise UserError(
                f"this script has a leg in {simulation.run_paths.root} open already",
                "Leave its with block before you open a leg again. To train two at the same time, use two notes.",
            )
        with ExitStack() as held, _working(self._folder) as progress:
            handover_writer.check_code(leg)
            held.enter_context(simulation.run_paths.alone())
            _held_here.add(run)
            held.callback(_held_here.discard, run)
            check_own_code(leg, transport.policy, simulation.devices)
            transport.prepare(leg)
            simulation.sites.look(simulation.study)
            simulation.begin(progress)
            self._incoming = simulation.receive(leg, progress)
            pool = [simulation.sites(dataset, train=True) for dataset in leg.pool]
            arrived = self._incoming.handover if self._incoming else None
            self._net = start_of(leg, model_of(leg), arrived, pool, transport.policy)
            weights = self._net.state_dict().items()
            self.weights = {k: v.detach().clone() for k, v in weights} if self._starts else None
            self.memories = copy.deepcopy(arrived.others(leg.task_name)) if arrived else {}
            self.split = pool[0].split
            self.train, self.val = Images(pool[0].train, leg), Images(pool[0].val, leg)
            self._held = held.pop_all()
        self._began, self._open = time.monotonic(), True
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in INSIDE:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise NotOpen(
                f"leg {self.number} ({self.site}) is not open, so it has no {name.lstrip('_')} yet",
                "Use it in a with block: with open_leg(…) as leg.",
            )

    @property
    def _starts(self) -> bool:
        return self._incoming is not None and self._leg.strategy.uses_incoming

    def net(self) -> nn.Module:
        """The study's net, a new copy each time: with the weights that arrived or, in a leg that starts from nothing,
        with initial weights that depend on the study's seed only."""
        return copy.deepcopy(self._net).train()

    def finish(self, trained: nn.Module | Mapping[str, Tensor]) -> dict[str, float]:
        """Hand back the trained weights; relay does the rest of the leg.

        Args:
            trained: the study's net, or its ``state_dict``; on any device, float32.

        Returns:
            The score of the model on each test set that is here, by site (the task's primary metric).

        Raises:
            HandoverError: names, shapes or types are not those of the study's net, or a value is not finite. The leg is
                still open: call again.
            UserError: the leg is finished already, or its ``with`` block has ended.
            TrainingError: the next site would refuse the result. The leg is still open.
        """
        if self._finished or not self._open:
            why = "is finished already" if self._finished else "is not open"
            raise UserError(
                f"leg {self.number} ({self.site}) {why}",
                "Call finish once, inside the with block of open_leg. For another result, use a new note.",
            )
        weights = trained.state_dict() if isinstance(trained, nn.Module) else trained
        if not isinstance(weights, Mapping):
            raise HandoverError(
                f"finish got a {type(trained).__name__}, which is neither a net nor a state_dict",
                "Hand back the net of leg.net(), or its state_dict. The leg is still open: call finish again.",
            )
        if around := _around(weights, self._net.state_dict()):
            raise HandoverError(
                f"these are the weights of a net inside another module: their names begin with {around!r}",
                "Hand back the net inside, the one that leg.net() gave. The leg is still open: call finish again.",
            )
        tensors = {str(k): v for k, v in weights.items() if isinstance(v, Tensor)}
        if odd := [k for k, v in tensors.items() if v.is_meta or v.layout != torch.strided]:
            raise HandoverError(
                f"these weights are sparse, or on the device 'meta': {some(odd)}",
                "Hand back tensors that hold all their values. The leg is still open: call finish again.",
            )
        result = Trained({k: _here(v) for k, v in weights.items()}, time.monotonic() - self._began)
        result.load(copy.deepcopy(self._net))
        leg, simulation = self._leg, self._simulation
        paths = simulation.run_paths.leg(leg.folder)
        with _working(self._folder) as progress:
            progress.leg(f"{simulation.study.strategy} · {self.site}, trained by {leg.own_code}")
            for state in paths.root.glob("phase_*.ckpt"):  # of an attempt with other weights
                state.unlink()
            simulation.train(leg, self._incoming, progress, result)
            self._finished = True
            simulation.send(leg, progress)
            if all(simulation.run_paths.leg(other.folder).finished for other in simulation.study.legs):
                simulation.conclude(progress)
                write_report(simulation.run_paths.root)
            scores = matrix(of_model(paths.rows()))
        return dict(next(iter(scores.values()), {}))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the leg; without :meth:`finish`, it is left as it was, and can be opened again.

        Raises:
            UserError: nothing was handed back, and no other error says why.
        """
        self._held.close()
        self._open = False
        if error is None and not self._finished:
            raise UserError(
                f"leg {self.number} ({self.site}) got no weights, so it is not finished",
                "Call leg.finish(net) at the end of the with block. The leg is as before; run the script again.",
            )


def _around(names: Iterable[str], wanted: Iterable[str]) -> str:
    """What stands before every wanted name, as a module around the net writes it: ``module.``; empty for nothing."""
    found, (first, *rest) = {str(name) for name in names}, wanted
    if first in found:
        return ""
    begin = (name.removesuffix(first) for name in sorted(found) if name.endswith(f".{first}"))
    return next((each for each in begin if all(each + name in found for name in rest)), "")


def _here(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value


@contextmanager
def _working(folder: Path) -> Iterator[Progress]:
    """While relay works: progress on the screen, files that only their owner can read, and the folder and torch's modes
    as relay needs them, whatever the script has set."""
    where, kind = Path.cwd(), torch.get_default_dtype()
    before = os.umask(0o077)
    os.chdir(folder)
    torch.set_default_dtype(torch.float32)
    try:
        with Progress(console=Console(emoji=False)) as progress, ExitStack() as usual:
            for mode in (torch.inference_mode(False), torch.enable_grad(), *_modes()):
                usual.enter_context(mode)
            yield progress
    finally:
        torch.set_default_dtype(kind)
        os.chdir(where)
        os.umask(before)


def _modes() -> Iterator[AbstractContextManager[object]]:
    """What undoes a default device and automatic precision."""
    if torch.get_default_device().type != "cpu":
        yield torch.device("cpu")
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            yield torch.autocast(kind, enabled=False)
