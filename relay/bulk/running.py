"""Predict all images of a list, in one process or several, and keep what is finished."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from relay.bulk.dicom import Writer, is_source
from relay.bulk.listing import Wanted
from relay.bulk.looking import Found, look
from relay.bulk.outputs import Outputs, identity
from relay.bulk.predictor import Predictor
from relay.bulk.review import Threshold, reviewed
from relay.bulk.rows import rows_of
from relay.bulk.usual import Usual, doubt_about
from relay.data import is_volume, planes_in_order, stem
from relay.errors import DataError, UserError, first_line, killed
from relay.files import clear
from relay.leg import Progress
from relay.logs import hide
from relay.predict import save_map, save_mask

log = logging.getLogger(__name__)
TOLD = 5
"""How many images that can't be predicted are told of on the screen, each with its reason."""
AHEAD = 2
"""How many images wait for each process."""


@dataclass(frozen=True)
class Settings:
    """How images are predicted.

    Attributes:
        doubts: whether doubt is measured.
        usual: the spacing of the training images; None if it isn't known.
        writer: of DICOM objects; None for none.
        jobs: how many processes.
    """

    doubts: bool = False
    usual: Usual | None = None
    writer: Writer | None = None
    jobs: int = 1


@dataclass(frozen=True)
class Summary:
    """How it went.

    Attributes:
        table: the table's file.
        kept: how many of the images were finished by an earlier run.
        problems: why the others could not be predicted.
        lacking: why DICOM objects that were asked for could not be written, for each image without.
        doubtful, strange, noted: how many are to be reviewed, look unlike those of every site, have notes.
    """

    table: Path
    images: int
    kept: int
    problems: Sequence[str]
    lacking: Sequence[str]
    doubtful: int
    strange: int
    noted: int


@dataclass(frozen=True)
class _Work:
    """What a process needs."""

    predictor: Predictor
    outputs: Outputs
    settings: Settings

    def do(self, wanted: Wanted) -> dict[str, Any]:
        """The record of an image; of one that can't be predicted, with the key ``error``."""
        try:
            if wanted.problem:
                raise DataError(wanted.problem)
            if (record := self.outputs.finished(wanted)) is not None:
                return {**record, "kept": True}
            return self._predicted(wanted)
        except UserError as error:
            self.outputs.forget(wanted)
            cure = f". {error.own_advice}" if isinstance(error, DataError) and error.own_advice else ""
            return {"rows": [{}], "notes": [], "error": f"{error}{cure}".replace("\n", " ")}

    def _predicted(self, wanted: Wanted) -> dict[str, Any]:
        path = wanted.files[0]
        found = look(self.predictor, self.predictor.prepare(wanted.files), path, self.settings.doubts)
        spacing = _spacing(path, found.image.read.spacing)
        rows, files = rows_of(found, self.predictor.task, spacing), list[Path]()
        try:
            lacking = self._write(found, wanted, spacing, rows, files)
        except BaseException:
            for file in files:  # an image that is not predicted leaves nothing
                clear(file)
            raise
        strange = {None: "", True: "yes", False: "no"}[found.strange]
        notes = [*found.image.notes, doubt_about(spacing, self.settings.usual), lacking]
        record = {"rows": rows, "unlike": strange, "notes": [note for note in notes if note], "lacking": lacking}
        return self.outputs.finish(wanted, record, files)

    def _write(
        self,
        found: Found,
        wanted: Wanted,
        spacing: Sequence[float] | None,
        rows: list[dict[str, Any]],
        files: list[Path],
    ) -> str:
        """Write what was found beside the table, and name it in its first row; return why a DICOM object is lacking."""
        path = wanted.files[0]
        if found.mask is not None:
            files.append(save_mask(found.mask, path, self.outputs.place("masks", wanted)))
            rows[0]["mask"] = self._short(files[-1])
        if found.doubt_map is not None:
            files.append(save_map(found.doubt_map, path, self.outputs.place("uncertainty", wanted)))
            rows[0]["map"] = self._short(files[-1])
        if self.settings.writer is not None and is_source(path):
            place = self.outputs.place("dicom", wanted)
            try:
                objects = self.settings.writer.write(found, path, place, identity(wanted), spacing)
            except DataError as error:
                return str(error)
            for made in objects:
                files.append(made)
                rows[0][made.stem.rpartition("_")[2]] = self._short(made)
        return ""

    def _short(self, path: Path) -> str:
        return path.relative_to(self.outputs.folder).as_posix()


def _spacing(path: Path, spacing: Sequence[float] | None) -> Sequence[float] | None:
    """The size of a voxel in mm; None if the file does not give it: readers assume 1 mm then."""
    if not is_volume(path):
        return None
    return None if is_source(path) and planes_in_order(path)[0].spacing is None else spacing


def run(
    predictor: Predictor,
    wanted: Sequence[Wanted],
    outputs: Outputs,
    settings: Settings,
    progress: Progress,
    threshold: Threshold | None,
) -> Summary:
    """Predict every image that is not finished yet, and write the table of all; it is written even if the run is
    stopped.

    Raises:
        UserError: the model can't be sent to other processes.
        RelayError: a process was killed.
        OSError: the disk is full, or the folder can't be written.
    """
    hide(word for one in wanted for path in one.files for word in (path.name, stem(path)))
    work = _Work(predictor, outputs, settings)
    records: dict[int, dict[str, Any]] = {}
    lost = 0
    try:
        for number, record in _done(work, wanted, settings.jobs, progress):
            records[number] = record
            if "error" in record:
                lost += 1
                if lost <= TOLD:
                    progress.say(f"Not predicted: {record['error']}")
        if lost > TOLD:
            progress.say(f"… and {lost - TOLD} more: see the column error of {outputs.table.name}")
    finally:
        summary = _tabled(predictor, wanted, records, outputs, threshold)
    return summary


def _done(work: _Work, wanted: Sequence[Wanted], jobs: int, progress: Progress) -> Iterator[tuple[int, dict[str, Any]]]:
    if jobs == 1 or len(wanted) == 1:
        work.predictor.start()
        for number, one in enumerate(progress.counted(wanted, "predicting")):
            yield number, work.do(one)
        return
    context = get_context("spawn")  # a forked process would hold a copy of torch, and of its locks
    pool = ProcessPoolExecutor(min(jobs, len(wanted)), context, initializer=_begin, initargs=(_sent(work), jobs))
    try:
        with pool:
            yield from _through(pool.submit, wanted, jobs, progress)
    except BrokenProcessPool as error:
        cure = "Run the same command again with fewer --jobs: what is finished is kept."
        raise killed("predicts", cure) from error


def _through(
    submit: Callable[..., Future[dict[str, Any]]], wanted: Sequence[Wanted], jobs: int, progress: Progress
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Keep every process busy; yield in order."""
    waiting = [submit(_do, one) for one in wanted[: AHEAD * jobs]]
    try:
        for number, _ in enumerate(progress.counted(wanted, "predicting")):
            record = waiting.pop(0).result()
            if (following := number + AHEAD * jobs) < len(wanted):
                waiting.append(submit(_do, wanted[following]))
            yield number, record
    finally:
        for future in waiting:
            future.cancel()


def _sent(work: _Work) -> bytes:
    """What other processes need: pickled here, so that what can't be is refused before any of them starts."""
    try:
        return pickle.dumps(work)
    except Exception as error:  # whatever a plug-in's net holds
        raise UserError(f"the model can't be sent to other processes: {first_line(error)}", "Use --jobs 1.") from error


_here: list[_Work] = []
"""What this process works on."""


def _begin(sent: bytes, jobs: int) -> None:
    """Begin in another process; Ctrl-C is for the first one, which stops these. They end if it is killed."""
    import torch

    if (first := parent_process()) is not None:
        threading.Thread(target=_end_with, args=(first,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    work: _Work = pickle.loads(sent)  # sent by our own first process
    work.predictor.start()
    _here.append(work)


def _end_with(first: Any) -> None:
    first.join()
    os._exit(1)


def _do(wanted: Wanted) -> dict[str, Any]:
    return _here[0].do(wanted)


def _tabled(
    predictor: Predictor,
    wanted: Sequence[Wanted],
    records: Mapping[int, Mapping[str, Any]],
    outputs: Outputs,
    threshold: Threshold | None,
) -> Summary:
    """Write the table; images that were not reached are left out, unless an earlier run has finished them."""
    found = {n: outputs.finished(one) for n, one in enumerate(wanted) if n not in records and not one.problem}
    records = {**records, **{number: {**record, "kept": True} for number, record in found.items() if record}}
    rows: list[dict[str, Any]] = []
    given: list[Mapping[str, str]] = []
    for number, record in sorted(records.items()):
        one = wanted[number]
        notes = "; ".join(record["notes"])
        shared = {"file": one.said, "unlike": record.get("unlike", ""), "notes": notes, "model": predictor.digest}
        shared |= {"error": record["error"]} if "error" in record else {}
        rows += [{**shared, **row} for row in record["rows"]]
        given += [one.columns] * len(record["rows"])
    reviewed(rows, threshold)
    table = outputs.write_table(rows, _beside(rows, given))
    problems = [record["error"] for record in records.values() if "error" in record]
    files = {row["file"] for row in rows if row.get("review") == "yes"}
    summary = Summary(
        table,
        len(records),
        sum("kept" in record for record in records.values()),
        problems,
        [f"{one.said}: {why}" for k, one in enumerate(wanted) if (why := records.get(k, {}).get("lacking"))],
        len(files),
        sum(record.get("unlike") == "yes" for record in records.values()),
        sum(bool(record["notes"]) for record in records.values()),
    )
    counts = {"images": len(wanted), "predicted": len(records) - len(problems), "not predicted": len(problems)}
    counts["not reached"] = len(wanted) - len(records)
    outputs.write_about({"counts": counts, "review": threshold.about if threshold else None})
    return summary


def _beside(rows: Sequence[dict[str, Any]], given: Sequence[Mapping[str, str]]) -> list[str]:
    """Add to each row the columns that the given table has; return their names, which differ from those of results."""
    ours = {column for row in rows for column in row}
    columns = dict.fromkeys(column for one in given for column in one)
    names = {column: f"given {column}" if column in ours else column for column in columns}
    for row, one in zip(rows, given, strict=True):
        row.update({names[column]: value for column, value in one.items()})
    return list(names.values())
