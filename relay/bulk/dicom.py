"""Predictions as DICOM objects of the hospital: a mask as DICOM-SEG, numbers and classes as a structured report.

Both refer to the series that was predicted, and carry the identification of its patient, as every object of a patient's
study must. They are for the hospital's own systems, and must not leave them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import relay
from relay.bulk.looking import Found
from relay.bulk.rows import covered, predicted
from relay.data import Pixels, is_dicom, is_missing, is_series, planes_in_order, read_geometry, read_sheet
from relay.errors import DataError, UserError, first_line
from relay.files import atomic
from relay.tasks import Task

OURS = "99RELAY"
"""The coding scheme of what has no code of its own: 99 marks those that are private."""
TISSUE = ("85756007", "SCT", "Tissue")
PROCEDURES = {
    "CT": ("25045-6", "LN", "CT unspecified body region"),
    "MR": ("25056-3", "LN", "MRI unspecified body region"),
    "CR": ("43468-8", "LN", "XR unspecified body region"),
    "DX": ("43468-8", "LN", "XR unspecified body region"),
}
"""The procedure that is reported, by the modality of its images (DICOM PS3.16, CID 100)."""
IMAGING = ("363679005", "SCT", "Imaging")
TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""What an object takes over from its images, even if it is empty (DICOM PS3.3, C.7.1.1 and C.7.2.1)."""
COLUMNS = ("class", "value", "scheme", "meaning")
CATEGORY = ("category_value", "category_scheme", "category_meaning")
Coded = tuple[str, str, str]


def check_package() -> None:
    """Check, before any work, that highdicom is installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("highdicom") is None:
        raise UserError(
            "--dicom needs the package highdicom, which is not installed",
            "Install it as relay was installed: pip install 'relay-learning[dicom]'.",
        )


def is_source(path: Path) -> bool:
    """Whether an image is DICOM, so that objects can refer to it."""
    return is_series(path) or is_dicom(path)


@dataclass(frozen=True)
class Codes:
    """What each class is called in DICOM.

    Attributes:
        types: class → value, coding scheme, meaning; those without are coded as ``99RELAY``.
        categories: likewise of the category; those without are tissue.
    """

    types: Mapping[str, Coded] = field(default_factory=dict)
    categories: Mapping[str, Coded] = field(default_factory=dict)

    @staticmethod
    def of(path: Path, names: Sequence[str]) -> Codes:
        """Those in a table with the columns ``class,value,scheme,meaning``, and perhaps those of a category.

        Raises:
            DataError: it can't be read, lacks a column, or names a class that the model does not know.
        """
        sheet = read_sheet(path, COLUMNS, "Check the path of --codes.")
        sheet.need(COLUMNS, "Give the table these columns: class, value, scheme, meaning")
        types, categories = {}, {}
        for row in sheet.rows:
            name = row["class"]
            if name not in names:
                raise DataError(
                    f"{path}: line {row.line}: the model has no class {name}", f"Its classes: {', '.join(names)}."
                )
            types[name] = _coded(row, COLUMNS[1:], path)
            if set(CATEGORY) <= set(sheet.header) and not is_missing(row[CATEGORY[0]]):
                categories[name] = _coded(row, CATEGORY, path)
        return Codes(types, categories)

    def type_of(self, name: str, number: int) -> Any:
        """The code of a class."""
        return _concept(self.types.get(name, (str(number), OURS, name[:64])))

    def category_of(self, name: str) -> Any:
        """The code of its category."""
        return _concept(self.categories.get(name, TISSUE))


def _coded(row: Any, columns: Sequence[str], path: Path) -> Coded:
    value, scheme, meaning = (row[column] for column in columns)
    if not (value and scheme and meaning) or len(value) > 16 or len(scheme) > 16 or len(meaning) > 64:
        raise DataError(
            f"{path}: line {row.line}: {', '.join(columns)} are no DICOM code",
            "A code has a value and a scheme of up to 16 characters, and a meaning of up to 64.",
        )
    return value, scheme, meaning


@dataclass(frozen=True)
class Writer:
    """Writes the objects of one model.

    Attributes:
        name: of the algorithm; ``version``: of its weights.
        key: digest of all else that decides what is written: other settings or codes give other objects.
    """

    task: Task
    codes: Codes
    name: str
    version: str
    key: str = ""

    def write(
        self, found: Found, path: Path, place: Path, identity: str, spacing: Sequence[float] | None
    ) -> list[Path]:
        """Write the DICOM-SEG of a mask and the structured report of an image; of a volume that was classified slice by
        slice, neither.

        Args:
            path: the image's series or file.
            place: where to write, without ``_seg.dcm`` and ``_sr.dcm``.
            identity: the digest of the image.
            spacing: as for :func:`relay.bulk.rows.covered`.

        Raises:
            DataError: nothing can refer to this image.
        """
        if found.mask is None and found.image.across is not None:
            return []
        planes = planes_in_order(path)
        if found.mask is not None:
            order = np.argsort([plane.frame or 0 for plane in planes]) if planes[0].frame is not None else None
        headers = _headers([plane.path for plane in planes], self._plain)
        try:
            segments = None
            if found.mask is not None:
                segments = self._segments(_stored(found.mask, path, order), headers, identity)
            report = self._report(found, headers, segments, identity, spacing)
        except (AttributeError, ValueError, TypeError, KeyError) as error:  # highdicom's, about headers
            raise DataError(f"no DICOM object can refer to it, so there is none: {first_line(error)}") from error
        made = {"_seg.dcm": segments, "_sr.dcm": report}
        return [_save(each, place.with_name(place.name + end)) for end, each in made.items() if each is not None]

    @property
    def _plain(self) -> bool:
        """Whether all words of our own are ASCII, which every character set of DICOM has."""
        codes = [*self.codes.types.values(), *self.codes.categories.values()]
        return "".join([self.name, *self.task.names, *(word for code in codes for word in code)]).isascii()

    def _segments(self, stored: Pixels, headers: Sequence[Any], identity: str) -> Any:
        import highdicom as hd
        from pydicom.sr.codedict import codes

        family = codes.DCM.ArtificialIntelligence
        algorithm = hd.AlgorithmIdentificationSequence(self.name, family, self.version, source="relay")
        described = [
            hd.seg.SegmentDescription(
                number,
                name[:64],
                self.codes.category_of(name),
                self.codes.type_of(name, number),
                "AUTOMATIC",
                algorithm,
            )
            for number, name in list(enumerate(self.task.names))[1:]
        ]
        made = hd.seg.Segmentation(
            headers,
            stored,
            "BINARY",
            described,
            **self._general("segmentation", identity, 900),
            content_label="RELAY",
            content_description=self.name[:64],
            device_serial_number=self.version,
        )
        shared = made.SharedFunctionalGroupsSequence[0]
        if "SegmentIdentificationSequence" in shared:  # of a single segment; highdicom's reports look for it in frames
            for frame in made.PerFrameFunctionalGroupsSequence:
                frame.SegmentIdentificationSequence = shared.SegmentIdentificationSequence
            del shared.SegmentIdentificationSequence
        if "PlaneOrientationSequence" not in shared:  # of an image without a position
            made.PatientOrientation = headers[0].get("PatientOrientation", "")
        return made

    def _general(self, kind: str, identity: str, number: int) -> dict[str, Any]:
        """What every object has: the same image, model, settings and codes give the same UIDs."""
        return {
            "series_instance_uid": _uid(kind, "series", identity, self.version, self.key),
            "series_number": number,
            "sop_instance_uid": _uid(kind, "instance", identity, self.version, self.key),
            "instance_number": 1,
            "manufacturer": "relay",
            "manufacturer_model_name": "relay-learning",
            "software_versions": relay.__version__,
        }

    def _report(
        self, found: Found, headers: Sequence[Any], segments: Any, identity: str, spacing: Sequence[float] | None
    ) -> Any:
        """By template 1500 of DICOM PS3.16."""
        from highdicom import sr
        from pydicom.sr.codedict import codes

        device = sr.DeviceObserverIdentifyingAttributes(
            _uid("device", self.version), self.name[:64], "relay", "relay-learning", self.version
        )
        context = sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, device))
        groups = (
            self._answer(found, headers, identity)
            if segments is None
            else self._areas(found, headers, segments, identity, spacing)
        )
        procedure = _concept(PROCEDURES.get(str(getattr(headers[0], "Modality", "")), IMAGING))
        content = sr.MeasurementReport(context, procedure, groups)
        general = self._general("report", identity, 901)
        for key in ("manufacturer_model_name", "software_versions"):
            general.pop(key)
        evidence = [*headers, *([segments] if segments is not None else [])]
        return sr.ComprehensiveSR(evidence, content, **general, is_complete=True)

    def _areas(
        self,
        found: Found,
        headers: Sequence[Any],
        segments: Any,
        identity: str,
        spacing: Sequence[float] | None,
    ) -> list[Any]:
        """A group for each class: how much it covers, with its segment or, if there is nothing of it, without."""
        from highdicom import sr

        assert found.mask is not None
        unit, much = covered(found.mask, spacing, self.task.outputs)
        groups: list[Any] = []
        for number, name in list(enumerate(self.task.names))[1:]:
            about: dict[str, Any] = {
                "tracking_identifier": sr.TrackingIdentifier(
                    _uid("segment", number, identity, self.version), name[:64]
                ),
                "finding_type": self.codes.type_of(name, number),
                "algorithm_id": self._algorithm(),
                "measurements": [_measurement(unit, much[number])],
            }
            if not (found.mask == number).any():
                groups.append(sr.MeasurementsAndQualitativeEvaluations(**about, source_images=_images(headers)))
            elif unit == "ml" or found.mask.ndim == 3:
                segment = sr.ReferencedSegment.from_segmentation(segments, number)
                kind = sr.VolumetricROIMeasurementsAndQualitativeEvaluations
                groups.append(kind(**about, referenced_segment=segment))
            else:
                frame = _frame(
                    sr.ReferencedSegmentationFrame.from_segmentation(segments, segment_number=number), headers
                )
                groups.append(sr.PlanarROIMeasurementsAndQualitativeEvaluations(**about, referenced_segment=frame))
        return groups

    def _answer(self, found: Found, headers: Sequence[Any], identity: str) -> list[Any]:
        """One group: the class and the probability of each, or the number."""
        from highdicom import sr
        from pydicom.sr.codedict import codes

        (answer,) = found.answers
        concepts = {name: self.codes.type_of(name, number) for number, name in enumerate(self.task.names)}
        said = predicted(answer, self.task).split("|") if self.task.likelihood != "gaussian" else []
        return [
            sr.MeasurementsAndQualitativeEvaluations(
                sr.TrackingIdentifier(_uid("answer", identity, self.version), self.name[:64]),
                algorithm_id=self._algorithm(),
                measurements=[
                    sr.Measurement(concepts[name], value, codes.UCUM.NoUnits)
                    for name, value in zip(self.task.names, answer, strict=True)
                ],
                qualitative_evaluations=[
                    sr.QualitativeEvaluation(codes.DCM.Finding, concepts[name]) for name in said if name
                ],
                source_images=_images(headers),
            )
        ]

    def _algorithm(self) -> Any:
        from highdicom import sr

        return sr.AlgorithmIdentification(self.name, self.version)


def _frame(reference: Any, headers: Sequence[Any]) -> Any:
    """A reference to a frame of a mask, and to its image, as PS3.3, table 10-3 has them: a frame's number takes the
    place of its segment's, and an image of one frame has none."""
    mask, image = (item.ReferencedSOPSequence[0] for item in reference)
    del mask.ReferencedSegmentNumber
    if "NumberOfFrames" not in headers[0] and "ReferencedFrameNumber" in image:
        del image.ReferencedFrameNumber
    return reference


def _measurement(unit: str, value: float) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    kinds = {
        "ml": (codes.SCT.Volume, _concept(("ml", "UCUM", "milliliter"))),
        "mm2": (codes.SCT.Area, codes.UCUM.SquareMillimeter),
    }
    name, said = kinds.get(unit, (_concept((unit, OURS, f"Number of {unit}")), codes.UCUM.NoUnits))
    return sr.Measurement(name, float(f"{value:.6g}"), said)


def _images(headers: Sequence[Any]) -> list[Any]:
    from highdicom import sr

    return [sr.SourceImageForMeasurementGroup(each.SOPClassUID, each.SOPInstanceUID) for each in headers]


def _concept(code: Coded) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def _headers(paths: Sequence[Path], plain: bool) -> list[Any]:
    """The headers of the files, each once, in this order. What every object must have, but may have empty, is empty in
    those that lack it, as in images whose names were removed.

    Args:
        plain: whether their character set will do; else they are in UTF-8, as the objects that are made of them.
    """
    from pydicom import dcmread

    found = [dcmread(path, stop_before_pixels=True) for path in dict.fromkeys(paths)]
    for header in found:
        for name in TYPE_2:
            if name not in header:
                setattr(header, name, "")
    for header in found if not plain else ():
        header.decode()
        header.SpecificCharacterSet = "ISO_IR 192"
    return found


def _stored(mask: Pixels, path: Path, order: Any) -> Pixels:
    """A mask ``(frames, rows, columns)`` in the order of the frames of its image."""
    geometry = read_geometry(path)
    assert geometry is not None
    stored = geometry.turn_back(mask).reshape(geometry.size[::-1])
    return np.ascontiguousarray(stored if order is None else stored[order])


def _uid(*parts: object) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[repr(parts)]))


def _save(made: Any, path: Path) -> Path:
    with atomic(path) as beside:
        made.save_as(beside)
    return path
