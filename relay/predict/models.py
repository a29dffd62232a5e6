"""The models to test: those of finished legs, those in a handover, and what a site adopted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from torch import Tensor, nn

from relay.adopt import LEARNED, TUNED, AdoptPaths, read, tuned_weights
from relay.config import Devices
from relay.errors import HandoverError, UserError
from relay.exchange import StudyStore, look_into, reopen
from relay.handover import Handover, load_model
from relay.home import home_of
from relay.leg import Incoming, RunPaths, applied, candidates_in, check_input_spec, checkpoint, device_of
from relay.plan import Leg, Study
from relay.predict.settings import check_outside, check_own, check_test_sets
from relay.results import ADOPTED, EXPERT, GENERALIST, VOTE
from relay.trust import Keys


@dataclass(frozen=True)
class Model:
    """A model to test.

    Attributes:
        folder: its name in the results.
        leg: the leg of the config whose net and images it matches.
        number, site: of the leg that made it, in the relay.
        weights: all tensors it is made of, by name.
        source: where it came from.
        outside: whether it is not from a leg of this run.
        kind: ``generalist``, ``vote``, ``expert`` or ``adopted``.
        made: builds it on the CPU; None: its ``weights`` are those of the leg's net.
        sites: names of the test sets it is for; None for all.
    """

    folder: str
    leg: Leg
    number: int
    site: str
    weights: Mapping[str, Tensor]
    source: Path
    outside: bool = False
    kind: str = GENERALIST
    made: Callable[[], nn.Module] | None = None
    sites: tuple[str, ...] | None = None

    @property
    def digest(self) -> str:
        """An identifier for the weights."""
        return digest_of(self.weights)

    def net(self, devices: Devices) -> nn.Module:
        """Built, on its device, in evaluation mode, as the config wants it to be applied.

        Raises:
            HandoverError: as :meth:`built`.
        """
        return applied(self.built().to(device_of(devices)).eval(), self.leg.conf.predict)

    def built(self) -> nn.Module:
        """Built, on the CPU.

        Raises:
            HandoverError: the weights are not finite, or don't match the net of the config.
        """
        try:
            return self.made() if self.made else _loaded(self.leg, self.weights)
        except HandoverError as error:
            advice = error.advice() if self.outside else "Test it with the config it was trained with, or train again."
            raise HandoverError(f"{self.source}: {error}", advice) from error


def _loaded(leg: Leg, weights: Mapping[str, Tensor]) -> nn.Module:
    model = leg.net.build()
    load_model(model, weights)
    return model


def finished(study: Study, root: Path) -> list[Model]:
    """The ``last.ckpt`` of each leg that has one.

    Raises:
        UserError: no leg has one.
        ChangedConfigError: one was trained with other settings, or a test set was read with others.
        HandoverError: one was made for other images or classes.
    """
    run = RunPaths(root)
    legs = [leg for leg in study.legs if run.leg(leg.folder).checkpoint.is_file()]
    if not legs:
        looked = ", ".join(str(run.leg(leg.folder).checkpoint) for leg in study.legs)
        raise UserError(
            f"no checkpoint is here: looked for {looked}", "Train first, check -c and -n, or copy a last.ckpt there."
        )
    models = [_checkpoint(study, leg, run) for leg in legs]
    check_test_sets(study, root / "config.given.yaml")
    return models


def _checkpoint(study: Study, leg: Leg, run: RunPaths) -> Model:
    paths = run.leg(leg.folder)
    path = paths.checkpoint
    weights, facts = checkpoint.load(path)
    if then := facts.get("config") or paths.record().get("config"):
        check_own(study, leg, then, path)
    check_input_spec(leg, facts, path)
    tested = tuple(str(d.options.task_name) for d in study.tested(leg)) if study.tests != "all" else None
    return Model(leg.folder, leg, facts["leg"], leg.task_name, weights, path, sites=tested)


def received(study: Study, number: int) -> tuple[Handover, str, Path]:
    """What was received for a leg, checked again against the ledger; the name of its results, and its source.

    Raises:
        UserError: it was not received, or the config is not a deployment's.
    """
    store = store_of(study)
    return reopen(store, number)[0], f"received_leg_{number}", store.received(number)


def bundled(study: Study, path: Path, keys: Keys | None) -> tuple[Handover, str, Path]:
    """What is in a bundle, checked against every rule except turns, as :func:`received`; the bundle is not received.

    Raises:
        Refused: it fails verification; the message says why.
    """
    verified, handover = look_into(store_of(study), keys, path)
    return handover, f"bundle_leg_{verified.claim.leg}-{digest_of(handover.model)[:8]}", path


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """An identifier for weights: of their names, shapes and values."""
    whole = sha256()
    for name, tensor in sorted(weights.items()):
        whole.update(f"{name}\n{tuple(tensor.shape)}\n".encode())
        whole.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def store_of(study: Study) -> StudyStore:
    """This site's store for the study.

    Raises:
        UserError: the config is not a deployment's.
    """
    if study.handoff is None:
        raise UserError(f"{study.name} has no current_tasks.handoff", "Give a deployment's config.")
    return StudyStore(home_of(study.handoff.key), study.handoff.study)


def check_handover(study: Study, leg: Leg, handover: Handover, source: Path) -> None:
    """Check that a handover was trained with this config's net, and for its images and classes.

    Raises:
        ChangedConfigError: it was trained with other settings.
        HandoverError: it was trained for other images or classes.
    """
    if "config" in handover.facts:
        check_outside(study, leg, handover.facts["config"], source)
    check_input_spec(leg, handover.facts, source)


def inside(
    study: Study, leg: Leg, handover: Handover, folder: str, source: Path, outside: bool = True
) -> dict[str, Model]:
    """The models in a handover: the generalist; if there are experts, their vote; and the expert of the leg's site.

    Args:
        folder: the generalist's name in the results; the others' begin with it.

    Raises:
        ChangedConfigError, HandoverError: as :func:`check_handover`.
    """
    check_handover(study, leg, handover, source)
    number, site = handover.legs[-1]["leg"], handover.legs[-1]["site"]
    one = Model(folder, leg, number, site, handover.model, source, outside)
    found, experts = {GENERALIST: one}, handover.by_site(handover.experts)

    def build(kind: str) -> nn.Module:
        return candidates_in(leg, handover, leg.task_name)[kind]

    if experts:
        parts = {f"expert {name}": weights for name, weights in experts.items()}
        parts["generalist"] = handover.model  # it may be asked for images that are unlike all sites
        parts |= {f"memory {name}": state.tensors for name, state in handover.by_site(handover.memories).items()}
        whole = {f"{part}: {key}": tensor for part, tensors in parts.items() for key, tensor in tensors.items()}
        found[VOTE] = replace(one, folder=f"{folder}_vote", weights=whole, kind=VOTE, made=partial(build, VOTE))
    if leg.task_name in experts:
        number = max(k["leg"] for k in handover.legs if k["site"] == leg.task_name and k["leg"] in handover.experts)
        own = replace(one, folder=f"{folder}_expert_{leg.task_name}", number=number, site=leg.task_name, kind=EXPERT)
        made = partial(build, EXPERT)
        found[EXPERT] = replace(own, weights=experts[leg.task_name], made=made, sites=(leg.task_name,))
    return found


class NotAdopted(UserError):
    """A site has not chosen a model, or what it chose is not here."""


def adopted(study: Study, leg: Leg, incoming: Incoming | None, run: RunPaths, command: str) -> Model:
    """What a leg's site adopted, for its own test set.

    Args:
        incoming: the newest handover.
        command: which adopts a model.

    Raises:
        NotAdopted: it has not chosen, or has chosen a model that is not in the newest handover.
        UserError: a file that relay adopt wrote is damaged.
        HandoverError: the handover does not match the config.
    """
    site, paths = leg.task_name, AdoptPaths.of(run, leg.task_name)
    record = read(paths)
    if record is None or incoming is None:
        raise NotAdopted(f"{site} has not adopted a model in {run.root}", f"Run: {command}")
    models = inside(study, leg, incoming.handover, leg.folder, paths.record, outside=False)
    one = replace(models[GENERALIST], folder=f"adopted_{site}", site=site, kind=ADOPTED, sites=(site,))
    if record["model"] in (TUNED, LEARNED):
        return replace(one, weights=tuned_weights(paths, record), source=paths.tuned)
    if record["handover"] != incoming.digest:
        raise NotAdopted(f"{site} adopted a model before the newest handover arrived", f"Run again: {command}")
    if record["model"] not in models:
        why = f"{site} adopted the {record['model']}, which the newest roster has withdrawn"
        raise NotAdopted(why, f"Run again: {command}")
    chosen = models[record["model"]]
    return replace(one, weights=chosen.weights, made=chosen.made)
