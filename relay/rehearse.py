"""Rehearse a study on one computer: every site has its own folder and real keys, every step is a separate command.

::

    <root>/coordinator/home/                   the coordinator's keys and roster
    <root>/<site>/home/  config.yaml  exps/    a site: its keys and ledger, its config, its runs
    <root>/stick/                              the USB stick; nothing else goes from folder to folder

The commands are the ones that people type (they are printed), each in its own process, in its site's folder. When run
again, a rehearsal resumes.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from relay.config import dump
from relay.errors import RelayError, UserError
from relay.exchange import StudyStore, chain_in
from relay.files import expanded, write_text
from relay.locks import locked
from relay.plan import Study
from relay.trust import Statement, invitation_name, request_name, roster_name

COORDINATOR = "coordinator"
Say = Callable[[str], None]


class Rehearsal:
    """A study's rehearsal.

    Args:
        study: a simulation of two or more consecutive legs.
        root: its folder.
        name: of the study in the rosters.
        gpus: as for ``-g``, for the legs.
        policy: a YAML file for the roster; None for the default policy.
    """

    def __init__(
        self, study: Study, root: Path, name: str, say: Say, gpus: str | None = None, policy: Path | None = None
    ) -> None:
        self.study, self.root, self.name, self.say = study, root, name, say
        self.train = ["-g", gpus] if gpus else []
        self.policy = ["--policy", str(policy.resolve())] if policy else []
        self.sites = [leg.task_name for leg in study.legs]
        self.stick = root / "stick"
        starts = [leg.start for leg in study.legs]
        if len(starts) < 2 or starts != [None, *(leg.folder for leg in study.legs[:-1])]:
            raise UserError(
                f"'{study.name}' with the strategy '{study.strategy}' is not a relay of two or more legs",
                "Rehearse a simulation in which each leg starts from the previous one.",
            )

    def run(self) -> tuple[Statement, ...]:
        """Run everything; return the statements of all legs as the last site signed them.

        Raises:
            RelayError: a step failed; the steps before it are kept.
        """
        self.stick.mkdir(parents=True, exist_ok=True)
        with locked(self.root / ".lock", str(self.root), "To run another rehearsal, give it its own folder (-o)."):
            self._set_up()
            for number, site in enumerate(self.sites, 1):
                self._leg(number, site)
            self._share(self.sites[-1])
        return chain_in(self._store(self.sites[-1]).signed(len(self.sites)))

    # -- steps -------------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        """Keys, invitation, requests, roster."""
        stick = str(self.stick)
        for who in (COORDINATOR, *self.sites):
            self._home(who)
        if not self._store(COORDINATOR).knows_coordinator:
            self._relay(COORDINATOR, "invite", self.name, "-o", stick)
        words = self._relay(COORDINATOR, "keys", "show", "--words", quiet=True).strip()
        for site in self.sites:
            if not self._store(site).knows_coordinator:
                invitation = str(self.stick / invitation_name(self.name))
                self._relay(site, "request", invitation, "-o", stick, "--fingerprint", words)
        roster = self.stick / roster_name(self.name, 1)
        if self._store(COORDINATOR).trusted is None:
            requests = [str(self.stick / request_name(self.name, site)) for site in dict.fromkeys(self.sites)]
            order = ",".join(self.sites)
            self._relay(COORDINATOR, "roster", "make", *requests, "--order", order, *self.policy, "-o", stick, "--yes")
        for site in self.sites:
            if self._store(site).trusted is None:
                self._relay(site, "roster", "install", str(roster))

    def _leg(self, number: int, site: str) -> None:
        """Train; then make the receipt, which the previous site compares with its own."""
        write_text(self.root / site / "config.yaml", dump(self._config(number)))
        lap = self.sites[:number].count(site)
        note = ["-n", f"lap{lap}"] if lap > 1 else []  # a run has one leg
        self._relay(site, "train", "-c", "config.yaml", *note, *self.train)
        policy = self._store(site).roster.policy
        if policy.audit == "require":
            self._relay(site, "audit", "-c", "config.yaml", *note, "--shadows", "0")
        if policy.approval == "required" or policy.audit == "require":
            approved = ["--approved-by", "rehearsal", "--reason", "a rehearsal"]
            self._relay(site, "send", "-c", "config.yaml", *note, "--yes", *approved)
        if number > 1:
            receipt = str(self.stick / f"receipt-{number - 1}.txt")
            self._relay(site, "receipt", "--leg", str(number - 1), "-o", receipt)
            self._relay(self.sites[number - 2], "verify", "--receipt", receipt)

    def _share(self, last: str) -> None:
        """Give the last leg's bundle to every site."""
        for site in dict.fromkeys(self.sites):
            if site != last:
                self._relay(site, "receive", "-c", "config.yaml")

    # -- places ------------------------------------------------------------------------------------------------------

    def _home(self, who: str) -> None:
        """Make keys with a passphrase, which is in its own file."""
        folder = self.root / who
        secret = folder / "passphrase"
        if not secret.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        if not (folder / "home" / "keys.age").is_file():
            self._relay(who, "keys", "new", "--name", who)

    def _store(self, who: str) -> StudyStore:
        return StudyStore(self.root / who / "home", self.name)

    def _config(self, number: int) -> dict[str, Any]:
        """The study's config as used at one site: only its own data set, and the hand-over."""
        leg, given = self.study.legs[number - 1], self.study.given
        kept = [block for block in given["all_tasks_datasets"] if block["kwargs"]["task_id"] == leg.task_id]
        handoff = {"study": self.name, "key": "home", "receive": str(self.stick), "send": str(self.stick)}
        confs = given["current_tasks"].get("task_confs", {})
        own = {key: value for key, value in confs.get(leg.task_id, {}).items() if key != "checkpoint"}
        common = {key: value for key, value in given["common"].items() if key != "checkpoint"}
        current = {
            "mode": "deployment",
            "task_ids": [leg.task_id],
            "task_confs": {leg.task_id: own},
            "handoff": handoff,
        }
        blocks: dict[str, Any] = {"common": common, "all_tasks_datasets": kept, "current_tasks": current}
        return {key: _absolute(block) for key, block in blocks.items()}

    def _relay(self, who: str, *command: str, quiet: bool = False) -> str:
        """Run one command, as typed by one person in their own folder."""
        if not quiet:
            self.say(f"{who}$ relay {shlex.join(command)}")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}
        environment |= {"RELAY_HOME": "home", "RELAY_PASSPHRASE_FILE": "passphrase"}
        done = subprocess.run(
            [sys.executable, "-m", "relay", *command],
            cwd=self.root / who,
            env=environment,
            stdout=subprocess.PIPE if quiet else None,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if done.returncode:
            error = RelayError(f"{who}: relay {command[0]} exited with code {done.returncode}", "Its message is above.")
            error.exit_code = done.returncode
            raise error
        return done.stdout or ""


def _absolute(tree: Any) -> Any:
    """Make folders absolute, because each site's commands run in its own folder."""
    if isinstance(tree, Mapping):
        return {
            key: str(expanded(value).resolve()) if key in ("root_path", "pretrained") and value else _absolute(value)
            for key, value in tree.items()
        }
    return [_absolute(item) for item in tree] if isinstance(tree, Sequence) and not isinstance(tree, str) else tree
