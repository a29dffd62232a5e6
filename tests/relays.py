"""A relay in a folder: a coordinator, a few sites, a stick, a clock; and all that a dishonest one of them can do.

An honest relay::

    world = World(tmp_path)           # north, south, east, in this order
    bundle = world.make(1)            # north trains, signs, and puts leg 1 on the stick
    world.deliver(bundle, "south")    # south verifies, weighs, and takes it in

A hostile one takes a bundle apart, changes what it likes, and packs it again, signed by whomever it has keys of::

    with world.forged(1, signer="north") as parts:
        parts.claim["leg"] = 2
    world.refuses(parts.bundle, "south", WrongOrder, "leg 2")
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyrage
import pytest
import torch
from torch import Tensor

from relay.bundle import container, handover_files, manifest
from relay.bundle.handover_files import Facts
from relay.bundle.manifest import DATA_CARD, MANIFEST, RESULTS, STATEMENT
from relay.exchange import drafting, gate, receiving, sending
from relay.exchange.expected_config import ExpectedConfig
from relay.exchange.receiving import Verified
from relay.exchange.store import StudyStore
from relay.handover import Handover, MemoryState, Privacy, compact
from relay.trust import keys, roster_builder, statement
from relay.trust.document import canonical, digest
from relay.trust.keys import Keys
from relay.trust.policy import Policy
from relay.trust.refusals import Refused
from relay.trust.roster import Roster, sign_roster

STUDY = "vessels"
START = datetime(2026, 3, 2, 9, 30, tzinfo=timezone.utc)
DAY = timedelta(days=1)
NET = {"name": "U-Net", "kwargs": {"depth": 2}}
DATA = {
    "task": "segmentation",
    "classes": ["background", "vessel"],
    "channels": 3,
    "intensity_range": [-1.0, 1.0],
    "steps": None,
    "slices": None,
}
CONFIG = {"train.lr": 0.1, "train.loss.name": "dice"}
SAMPLES = 19  # rounded: 16
EXPECTED = ExpectedConfig(NET, DATA, digest(canonical(CONFIG)))


def weights(leg: int, like: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """What a little training makes of weights, or of none."""
    random = torch.Generator().manual_seed(leg)
    like = like or {"conv.weight": torch.zeros(4, 3, 3, 3), "norm.bias": torch.zeros(4)}
    return {name: tensor + 0.1 * torch.randn(tensor.shape, generator=random) for name, tensor in like.items()}


def remembered(leg: int, kind: str = "style", **privacy: Any) -> MemoryState:
    """A small memory, as a leg may make it."""
    tensors = {"mean": torch.arange(3.0) + leg, "spread": torch.full((2,), leg / 10)}
    about = {"quantiles": [0.1, 0.5, 0.9]}
    return MemoryState(tensors, kind, Privacy(**{"derived": "aggregates", "patients": SAMPLES, **privacy}), about)


def best(leg: int, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A leg's expert: its model, trained on a little."""
    trained = {n: w + leg / 64 if w.dtype == torch.float32 else w for n, w in model.items()}
    return compact(trained)


def zero_shot(leg: int) -> list[dict[str, Any]]:
    """How well what arrived does at the site of a leg."""
    return [{"model": model, "mean": 0.5, "images": SAMPLES} for model in ("generalist", "vote")] if leg > 1 else []


ITS_OWN_BEST: dict[str, Tensor] = {}
"""Says that a leg makes the expert that is usual for it."""
EACH_ITS_OWN = remembered(0)
"""Says that a leg makes the memory that is usual for it."""


class World:
    """A whole study in one folder.

    Attributes:
        now: what every clock shows; set it at will.
        coordinator: whose name is ``centre``.
        keys: of the sites, by name. Give one other keys, and it uses them.
        stores: the sites', by name.
        rosters: every version, signed; the first at 1.
    """

    def __init__(
        self,
        folder: Path,
        sites: Sequence[str] = ("north", "south", "east"),
        order: Sequence[str] | None = None,
        policy: Policy | None = None,
        readers: Sequence[str] = (),
        study: str = STUDY,
    ) -> None:
        self.folder, self.study, self.now = folder, study, START
        self.coordinator = self.new_keys("centre")
        self.keys = {name: self.new_keys(name) for name in sites}
        self.rosters: dict[int, bytes] = {}
        self.stores: dict[str, StudyStore] = {}
        self.stick.mkdir(parents=True)
        self.roster = roster_builder.first(
            study,
            self.coordinator.identity,
            [k.identity for k in self.keys.values()],
            order or sites,
            policy or Policy(),
            self.now,
            readers=readers,
        )
        envelope = self.signed(self.roster)
        for name in sites:
            self.open_store(name, envelope)

    @classmethod
    def with_reader(cls, folder: Path) -> World:
        """A study that has ended, in which sites may share; and ``outside``, a hospital that took no part, with keys
        and the roster. North has the last leg."""
        world = cls(folder)
        world.with_policy(install=["north", "south", "east"], share="sites")
        world.run(2)
        world.make(3)
        world.deliver(world.bundle(3), "north")
        world.keys["outside"] = world.new_keys("outside")
        world.open_store("outside", world.rosters[2])
        return world

    def copy(self, folder: Path) -> World:
        """The same world in another folder; what is done to one is not done to the other."""
        twin = object.__new__(World)
        twin.__dict__.update(self.__dict__, folder=folder, keys=dict(self.keys), rosters=dict(self.rosters))
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        twin.stores = {name: StudyStore(folder / name, self.study, lambda: twin.now) for name in self.stores}
        return twin

    @property
    def stick(self) -> Path:
        return self.folder / "stick"

    def new_keys(self, name: str, years: float = 2.0) -> Keys:
        return keys.new(name, years, self.now - DAY)

    def open_store(self, name: str, roster: bytes | None = None) -> StudyStore:
        """A home for a site, with the coordinator pinned, and a roster if there is one."""
        keys.save(self.keys[name], self.folder / name, None, replace=(self.folder / name).exists())
        self.stores[name] = store = StudyStore(self.folder / name, self.study, lambda: self.now)
        store.pin(self.coordinator.identity)
        if roster is not None:
            store.install(roster)
        return store

    # -- the coordinator ---------------------------------------------------------------------------------------------

    def signed(self, roster: Roster) -> bytes:
        """Make this roster the newest."""
        self.roster = roster
        self.rosters[roster.version] = sign_roster(roster, self.coordinator)
        return self.rosters[roster.version]

    def amend(self, done: int, install: Sequence[str] = (), **changes: Any) -> bytes:
        """The next version of the roster, installed at these sites."""
        envelope = self.signed(roster_builder.amend(self.roster, self.now, done=done, **changes))
        for name in install:
            self.stores[name].install(envelope)
        return envelope

    def with_policy(self, done: int = 0, install: Sequence[str] = (), **changes: Any) -> bytes:
        """The next version, with another policy."""
        return self.amend(done, install, policy=dataclasses.replace(self.roster.policy, **changes))

    # -- honest sites ------------------------------------------------------------------------------------------------

    def train(
        self,
        leg: int,
        model: Mapping[str, Tensor] | None = None,
        memory: MemoryState | None = EACH_ITS_OWN,
        cumulative: MemoryState | None = None,
        expert: Mapping[str, Tensor] | None = ITS_OWN_BEST,
        site: str | None = None,
        config: Mapping[str, Any] = CONFIG,
        samples: int = SAMPLES,
        **facts: Any,
    ) -> Path:
        """A leg's handover, from what its site received."""
        site = site or self.roster.order[leg - 1]
        store, start, like = self.stores[site], None, None
        if leg > 1:
            before, start = receiving.reopen(store, leg - 1)
            like = before.model
        model = model or weights(leg, like)
        memory = remembered(leg) if memory is EACH_ITS_OWN else memory
        expert = best(leg, model) if expert is ITS_OWN_BEST else expert
        parts = {"memory": memory, "cumulative": cumulative}
        tensors = {"model": len(model), **{name: len(part.tensors) for name, part in parts.items() if part}}
        tensors |= {"expert": len(expert)} if expert else {}
        dice = {site: round(0.7 + leg / 100, 2), "outside": None}
        what = {"leg": leg, "site": site, "strategy": "relay", "start": start, "samples": samples, "result": dice}
        counts = {"train": samples, "val": 0, "test": 5}
        card = {"format": 1, "site": site, "task": "segmentation", "classes": DATA["classes"], "channels": 3}
        card |= {"size": [64, 64], "images": counts, "patients": counts}
        rows = [{"site": site, "label": "vessel", "metric": "dice", "mean": dice[site]}]
        results = {
            "format": 1,
            "leg": leg,
            "trained": site,
            "rows": rows,
            "zero_shot": zero_shot(leg),
        }
        folder = self.folder / site / f"handover_{leg}"
        documents = {manifest.CONFIG: dict(config), DATA_CARD: card, RESULTS: results}
        made = Facts(**{**what, "torch": "2.6.0", **facts}, tensors=tensors)  # type: ignore[arg-type]
        made_here = Handover(
            model,
            {leg: memory} if memory else {},
            cumulative,
            {"model": NET, "data": DATA},
            {leg: expert} if expert else {},
        )
        handover_files.write(made_here, folder, documents, made)
        return folder

    def make(self, leg: int, site: str | None = None, volume: int | None = None, **changes: Any) -> Path:
        """Train a leg, sign it, put it on the stick."""
        site = site or self.roster.order[leg - 1]
        return self.put(leg, self.train(leg, site=site, **changes), site, volume)

    def put(self, leg: int, folder: Path, site: str | None = None, volume: int | None = None) -> Path:
        """Sign a handover, put it on the stick."""
        site = site or self.roster.order[leg - 1]
        store, own = self.stores[site], self.keys[site]
        sending.sign(store, own, drafting.draft(store, folder))
        return sending.export(store, leg, self.stick, volume)[0]

    def deliver(self, bundle: Path, site: str, fit: ExpectedConfig | None = EXPECTED) -> Verified:
        """Receive a bundle at a site, gate and all."""
        return receiving.receive(self.stores[site], self.keys[site], bundle, gate.weigh, fit)

    def run(self, legs: int, last: bool = True) -> list[Path]:
        """So many legs, each received by the next site (the last one too, unless told otherwise)."""
        bundles = []
        for leg in range(1, legs + 1):
            bundles.append(self.make(leg))
            following = self.roster.turn(leg + 1)
            if following and (last or leg < legs):
                self.deliver(bundles[-1], following)
        return bundles

    def bundle(self, leg: int) -> Path:
        """Where the bundle of a leg lies on the stick."""
        (path,) = self.stick.glob(f"{self.study}.leg-{leg}.*")
        return path

    # -- dishonest ones ----------------------------------------------------------------------------------------------

    def opened(self, leg: int) -> dict[str, bytes]:
        """What is in the bundle of a leg, by somebody who has the keys, and by other tools than relay's."""
        return taken_apart(unsealed(self.bundle(leg).read_bytes(), *self.keys.values()))

    @contextmanager
    def forged(
        self, leg: int, signer: str | Keys | None = None, to: Sequence[str] | None = None, name: str = "forged"
    ) -> Iterator[Parts]:
        """The bundle of a leg, to be changed in the block; it then lies on the stick.

        Args:
            signer: who signs manifest and statement again, as changed. None: they stay as they are in ``files``.
            to: sealed to these; nobody for a bare one, whoever it was sealed to for None.
        """
        parts = Parts(self.opened(leg), self.stick / f"{name}.relay")
        yield parts
        if signer is not None:
            parts.sign(self.keys[signer] if isinstance(signer, str) else signer)
        bare = parts.packed()
        names = [r["name"] for r in parts.claim["recipients"]] if to is None else to
        parts.bundle.write_bytes(sealed(bare, *(self.keys[n].identity.sealing for n in names if n in self.keys)))

    def reseal(self, data: bytes, *names: str, name: str = "resealed.relay") -> Path:
        """A file on the stick, sealed to these sites."""
        path = self.stick / name
        path.write_bytes(sealed(data, *(self.keys[n].identity.sealing for n in names)))
        return path

    def forget(self, site: str) -> None:
        """A site's ledger is begun anew: it knows the roster, and nothing of the legs; nor does its home."""
        store = self.stores[site]
        store.ledger.put_aside(self.now)
        for folder in store.kept():
            shutil.rmtree(folder)
        trusted = store.trusted
        assert trusted is not None
        store.ledger.append("roster", self.now, version=trusted.roster.version, sha256=trusted.digest)

    def refuses(
        self, bundle: Path, site: str, why: type[Refused], *says: str, fit: ExpectedConfig | None = EXPECTED
    ) -> Refused:
        """Check that a site refuses a bundle, says why and what to do, and keeps nothing of it."""
        before = contents(self.folder / site)
        with pytest.raises(Refused) as caught:
            self.deliver(bundle, site, fit)
        assert type(caught.value) is why, f"{type(caught.value).__name__}: {caught.value}"
        check_words(caught.value, *says)
        assert contents(self.folder / site) == before, "a refused bundle left something behind"
        return caught.value


@dataclasses.dataclass
class Parts:
    """A bundle taken apart.

    Attributes:
        files: every entry by name.
        bundle: where it will lie.
        payload: the in-toto statement, as plain values; only what is signed again gets into ``files``.
        lies: the sizes in the statement stay as they are, whatever the files are.
    """

    files: dict[str, bytes]
    bundle: Path
    lies: bool = False

    def __post_init__(self) -> None:
        self.payload: dict[str, Any] = json.loads(payload_of(self.files[STATEMENT]))

    @property
    def claim(self) -> dict[str, Any]:
        return self.payload["predicate"]  # type: ignore[no-any-return]

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])

    def put(self, name: str, content: Any) -> None:
        self.files[name] = canonical(content)

    def sign(self, own: Keys) -> None:
        """A manifest of what is there now, and a statement about it."""
        for name, part in self.claim["handover"].items():
            if part and f"{name}.safetensors" in self.files and not self.lies:
                part["bytes"] = len(self.files[f"{name}.safetensors"])
        listing = manifest.write({n: digest(self.files[n]) for n in self.order() if n not in (STATEMENT, MANIFEST)})
        self.files[MANIFEST] = listing
        self.payload["subject"][0]["digest"]["sha256"] = digest(listing)
        self.files[STATEMENT] = own.sign(canonical(self.payload), statement.KIND)

    def order(self) -> list[str]:
        """The entries as a bundle has them; what does not belong there comes last."""
        rosters = sorted(int(n[8:12]) for n in self.files if n.startswith("rosters/") and n[8:12].isdigit())
        legs = max((int(n[6:10]) for n in self.files if n.startswith("chain/") and n[6:10].isdigit()), default=0)
        own = [any(name in self.files for name in (m, manifest.card_of(m))) for m in manifest.OWN]
        kept = [k for k in range(1, legs + 1) if any(manifest.earlier(k, n) in self.files for n in manifest.KEPT)]
        experts = [k for k in range(1, legs + 1) if manifest.earlier(k, manifest.EXPERT) in self.files]
        honest = manifest.Layout(rosters, legs, *own, kept, manifest.EXPERT in self.files, experts).names()
        return [*(n for n in honest if n in self.files), *(n for n in self.files if n not in honest)]

    def packed(self) -> bytes:
        return packed({name: self.files[name] for name in self.order()})


def packed(files: Mapping[str, bytes]) -> bytes:
    """Entries as the one container of them."""
    return io.BufferedReader(container.write(list(files.items()))).read()


def taken_apart(bare: bytes) -> dict[str, bytes]:
    """A bare bundle's entries, read by Python's own zipfile."""
    with zipfile.ZipFile(io.BytesIO(bare)) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def sealed(bare: bytes, *recipients: str) -> bytes:
    """Sealed by age to these; bare for nobody."""
    keys = [pyrage.x25519.Recipient.from_str(recipient) for recipient in recipients]
    return bytes(pyrage.encrypt(bare, keys)) if keys else bare


def unsealed(data: bytes, *own: Keys) -> bytes:
    """What age finds inside, with any of these keys."""
    if not data.startswith(b"age-encryption"):
        return data
    return bytes(pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(k.sealing) for k in own]))


def payload_of(envelope: bytes) -> bytes:
    return base64.b64decode(json.loads(envelope)["payload"])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder. The lock is none of them: it is empty, whatever happens."""
    there = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in there}


def check_words(error: Refused, *says: str) -> None:
    """A refusal says what and where, and what to do; in words that can be printed."""
    text = str(error)
    assert error.exit_code == 3
    assert text.isprintable()
    assert 10 < len(text) < 1000, text
    assert len(error.advice()) > 20
    for word in says:
        assert word in text, f"{word!r} is not in: {text}"


At = Callable[[int], World]
"""Gives a world in which so many legs were made (``tests/conftest.py``)."""
