"""The models to test: those of finished legs, or one from another site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from torch import Tensor, nn

from relay.config import Devices
from relay.errors import HandoverError, UserError
from relay.exchange import StudyStore, look_into, reopen
from relay.handover import Handover, load_model
from relay.home import home_of
from relay.leg import RunPaths, check_input_spec, checkpoint, device_of
from relay.plan import Leg, Study
from relay.predict.settings import check_outside, check_own, check_test_sets
from relay.trust import Keys


@dataclass(frozen=True)
class Model:
    """A model to test.

    Attributes:
        folder: its name in the results.
        leg: the leg of the config whose net and images it matches.
        number, site: of the leg that made it, in the relay.
        source: where it came from.
        outside: whether it is not from a leg of this run.
    """

    folder: str
    leg: Leg
    number: int
    site: str
    weights: Mapping[str, Tensor]
    source: Path
    outside: bool = False

    @property
    def digest(self) -> str:
        """An identifier for the weights."""
        return _digest(self.weights)

    def net(self, devices: Devices) -> nn.Module:
        """Built, on its device, in evaluation mode.

        Raises:
            HandoverError: the weights are not finite, or don't match the net of the config.
        """
        model = self.leg.net.build()
        try:
            load_model(model, self.weights)
        except HandoverError as error:
            advice = error.advice() if self.outside else "Test it with the config it was trained with, or train again."
            raise HandoverError(f"{self.source}: {error}", advice) from error
        return model.to(device_of(devices)).eval()


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
            f"no checkpoint to test: looked for {looked}", "Train first, check -c and -n, or copy a last.ckpt there."
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
    return Model(leg.folder, leg, facts["leg"], leg.task_name, weights, path)


def received(study: Study, number: int) -> Model:
    """The model of a received leg, checked again against the ledger and the config.

    Raises:
        UserError: it was not received, or the config is not a deployment's.
    """
    store = store_of(study)
    handover, _ = reopen(store, number)
    return _outside(study, handover, f"received_leg_{number}", store.received(number))


def bundled(study: Study, path: Path, keys: Keys | None) -> Model:
    """The model in a bundle, checked against every rule except turns; the bundle is not received.

    Raises:
        Refused: it fails verification; the message says why.
    """
    verified, handover = look_into(store_of(study), keys, path)
    return _outside(study, handover, f"bundle_leg_{verified.claim.leg}-{_digest(handover.model)[:8]}", path)


def _digest(weights: Mapping[str, Tensor]) -> str:
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


def _outside(study: Study, handover: Handover, folder: str, source: Path) -> Model:
    leg, made = study.legs[0], handover.legs[-1]
    if "config" in handover.facts:
        check_outside(study, leg, handover.facts["config"], source)
    check_input_spec(leg, handover.facts, source)
    return Model(folder, leg, made["leg"], made["site"], handover.model, source, outside=True)
