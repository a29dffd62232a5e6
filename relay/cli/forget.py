"""``relay forget``: a patient withdraws consent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, configs, options, places
from relay.cli.top import command
from relay.errors import UserError, typed

if TYPE_CHECKING:
    from relay.data import Dataset
    from relay.exchange import StudyStore
    from relay.plan import Study
    from relay.protection import Holdings

MOST = 12
"""How many files of a kind are listed."""


@command
def forget(
    patient: Annotated[str, typer.Argument(help="The patient, as the table or the names of the files have it.")],
    config: options.RunConfig,
    site: Annotated[str | None, typer.Option("--site", help="Default: the only one here.", metavar="NAME")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Default: only say what would be done.")] = False,
    home: options.Home = None,
    overrides: options.Overrides = None,
) -> None:
    """A patient withdraws consent: show what still holds the patient; with --yes, remove it and train without.

    The hospital's own images are never removed. What has left the hospital can't be called back.
    """
    found = configs.find(config, overrides)
    study = found.plan(train=False)
    from relay.data import Withdrawn
    from relay.home import home_of
    from relay.protection import holdings, person, withdraw

    dataset = _dataset(study, site)
    someone, runs = person(dataset, patient), Path("exps") / found.name
    legs = {leg.folder: [each.options.task_name for each in leg.pool] for leg in study.legs}
    given = dataset.options.corrections
    corrections = Path(given).expanduser() if given else runs / "corrections" / someone.site
    homes = {home_of(None), home_of(home)}
    there = holdings(someone, runs, legs, corrections, homes)
    store = store_of(study, home)
    ask.say(f"Site {someone.site}: {len(someone.files)} file(s) of the patient, which are the hospital's own and stay.")
    listed = Withdrawn.of_home()
    gone = not there.files and all(listed.has(someone.site, name) for name in someone.names)
    _show_files(there, yes)
    _show_learned(there, store, config, yes or gone)
    if gone and not yes:
        ask.say("The patient has withdrawn already; nothing is left to be removed.")
        return
    if not yes:
        again = ["relay", "forget", patient, "-c", config, *(["--site", site] if site else [])]
        again += ["--home", str(home)] if home else []
        ask.say("Nothing has been changed. To do it: " + typed(*again, *(overrides or []), "--yes"))
        return
    listed = withdraw(someone, there, store)
    left = holdings(someone, runs, legs, corrections, homes).files
    if left := [each for each in left if each.kind != "cache"]:
        raise UserError(f"{left[0].path} still holds the patient", "Something wrote it meanwhile: run this again.")
    ask.say(
        f"Done: {len(there.files)} file(s) and folders. The patient is left out of every split from now on, as "
        f"{listed.path} says."
    )
    for root in there.parts if any(each.kind == "rows" for each in there.files) else ():
        ask.say("To write tables and report again: " + typed("relay", "train", "-c", config, "-n", root.name))
    if store is not None:
        ask.say(f"Recorded in {store.ledger.path}, by a keyed hash.")


def _dataset(study: Study, site: str | None) -> Dataset:
    """The data set of a site that is here.

    Raises:
        UserError: there is none, or there are several.
    """
    here = {dataset.options.task_name: dataset for dataset in study.test_sets}
    here |= {dataset.options.task_name: dataset for leg in study.legs for dataset in leg.pool if dataset.accessible()}
    if site is None and len(here) != 1:
        raise UserError(f"{study.name} has {len(here)} sites here: {', '.join(here)}", "Choose one: --site NAME.")
    name = site or next(iter(here))
    if name not in here:
        raise UserError(f"{study.name} has no site '{name}' here", f"Its sites are {', '.join(here) or 'elsewhere'}.")
    return here[name]


def store_of(study: Study, home: Path | None, joined: bool = True) -> StudyStore | None:
    """The study's store at this site; None in a simulation, from which nothing leaves.

    Args:
        joined: whether the site must have joined; if not, None also means that it has not.
    """
    from relay.exchange import StudyStore
    from relay.home import home_of

    if study.handoff is None:
        return None
    place = home_of(home or study.handoff.key)
    store = StudyStore(place, places.check_study(study.handoff.study))
    if not (joined or any(store.roster_files())):
        return None
    return places.store_of(place, store.study)


def _show_files(there: Holdings, yes: bool) -> None:
    for root, part in there.parts.items():
        ask.say(f"{root}: the patient is in {part}.")
    if there.files:
        ask.say(f"{'Removing' if yes else 'To be removed'}, {len(there.files)}:")
    for why in dict.fromkeys(each.why for each in there.files):
        of_kind = [each for each in there.files if each.why == why]
        ask.say(f"  {why}:", *(f"    {each.path}" for each in of_kind[:MOST]))
        if len(of_kind) > MOST:
            ask.say(f"    and {len(of_kind) - MOST} more")


def _show_learned(there: Holdings, store: StudyStore | None, config: str, yes: bool) -> None:
    from relay.protection import record_of

    for each in there.learned:
        did = "learned from the patient" if each.part == "train" else "was chosen with the patient's images"
        with_expert = ", and so has its expert" if each.expert and each.part == "train" else ""
        ask.say(f"{each.folder}: this leg {did}{with_expert}; later legs build on it. The weights stay.")
    sent = record_of(store, there.learned) if store else []
    for left in sent:
        to = ", ".join(left.to) or "its recipients"
        ask.say(
            f"Leg {left.leg} left on {left.when[:10]} ({', '.join(left.files)}), for {to}. It can't be called "
            "back, and every later bundle has what it taught."
        )
    if sent and any(each.expert for each in there.learned):
        name = store.identity.name if store else ""
        ask.say(
            "Next: ask the coordinator to withdraw the expert: "
            + typed("relay", "roster", "amend", "--withdraw-expert", name)
            + ", or to let you repeat the leg without the patient."
        )
    if there.learned:
        again = typed("relay", "train", "-c", config, "-n", "NEW")
        old = list(dict.fromkeys(each.run for each in there.learned))
        ask.say(f"{'Next' if yes else 'After --yes'}, train without the patient ({again}) and remove the old weights:")
        ask.say(*("  " + typed("rm", "-r", run) for run in old))
