"""DICOM series for tests, written with pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from relay.data.formats.geometry import Geometry

NAME, NUMBER = "DOE^JOHN^SECRET", "Patient-4711"
"""They must never be seen anywhere."""
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)


def uid(*parts: object) -> str:
    """A UID that depends on the parts only."""
    return str(generate_uid(entropy_srcs=[repr(parts)]))


def header(**tags: Any) -> Dataset:
    """The header of an axial CT slice; ``None`` leaves a tag out."""
    ds = Dataset()
    given = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": uid("study"),
        "SeriesInstanceUID": uid("series"),
        "FrameOfReferenceUID": uid("frame of reference"),
        "PatientName": NAME,
        "PatientID": NUMBER,
        "PatientBirthDate": "19500101",
        "PatientSex": "O",
        "StudyID": "1",
        "StudyDate": "20200101",
        "StudyTime": "120000",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": NAME,
        "Manufacturer": "none",
        "Modality": "CT",
        "SeriesDescription": "Thorax",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [-10.0, -20.0, 30.0],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "PixelSpacing": [0.75, 0.5],
        "SliceThickness": 2.0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        **tags,
    }
    for tag, value in given.items():
        if value is not None:
            setattr(ds, tag, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def write(path: Path, ds: Dataset, values: np.ndarray) -> Path:
    """Write one file; ``values``: ``(y, x)``, or ``(frames, y, x)``, as they are stored."""
    ds.Rows, ds.Columns = values.shape[-2:]
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW" if values.itemsize > 1 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def slices(
    stored: np.ndarray,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    step: float = 2.0,
    **tags: Any,
) -> list[Dataset]:
    """The headers of a series' slices, from the first to the last along their normal."""
    axes = np.array(orientation, float).reshape(2, 3)
    normal = np.cross(*axes)
    first = np.array([-10.0, -20.0, 30.0])
    return [
        header(
            **{
                "ImagePositionPatient": [f"{mm:.10g}" for mm in first + k * step * normal],
                "ImageOrientationPatient": list(orientation),
                "InstanceNumber": k + 1,
                "SOPInstanceUID": uid("image", k, tags.get("SeriesInstanceUID")),
                **tags,
            }
        )
        for k in range(len(stored))
    ]


def series(folder: Path, stored: np.ndarray, shuffled: bool = True, **kwargs: Any) -> Path:
    """Write a series ``(z, y, x)`` with names that say nothing about the order."""
    names = np.random.default_rng(len(stored)).permutation(len(stored)) if shuffled else range(len(stored))
    for name, ds, values in zip(names, slices(stored, **kwargs), stored, strict=True):
        write(folder / f"IM{name:04d}", ds, values)
    return folder


def affine(geometry: Geometry) -> np.ndarray:
    """Voxel (x, y, z) to millimetres towards the left, the back and the head (LPS)."""
    found = np.eye(4)
    found[:3, :3] = np.reshape(geometry.direction, (3, 3)) * geometry.spacing
    found[:3, 3] = geometry.origin
    return found


def nifti_affine(path: Path) -> np.ndarray:
    """The same of a NIfTI file, by nibabel, which counts towards the right and the front."""
    import nibabel

    return np.diag([-1, -1, 1, 1]) @ nibabel.load(path).affine


def segmentation(path: Path, folder: Path, mask: np.ndarray, numbers: Sequence[int] = (1,), **how: Any) -> Path:
    """Write a DICOM-SEG of a series with highdicom; ``mask``: ``(z, y, x)`` with segments' numbers."""
    import highdicom
    from highdicom.seg import SegmentDescription
    from pydicom import dcmread
    from pydicom.sr.codedict import codes

    images = sorted((dcmread(file) for file in folder.iterdir()), key=lambda ds: ds.InstanceNumber)
    described = [
        SegmentDescription(number, f"part {number}", codes.SCT.Tissue, codes.SCT.Liver, "MANUAL") for number in numbers
    ]
    seg = highdicom.seg.Segmentation(
        images,
        mask,
        how.pop("kind", "BINARY"),
        described,
        uid("segmentation", str(path)),
        7,
        uid("segments", str(path)),
        1,
        "none",
        "none",
        "1",
        "1",
        **how,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return path


def series_of(folder: Path, image: Any, **tags: Any) -> Path:
    """Write a SimpleITK image of int16 values as a series, slice by slice along its last axis."""
    import SimpleITK as sitk

    stored = sitk.GetArrayFromImage(image)
    turned = np.reshape(image.GetDirection(), (3, 3))
    width, height, _ = image.GetSpacing()
    for k, values in enumerate(stored):
        ds = header(
            **{
                "ImagePositionPatient": list(image.TransformIndexToPhysicalPoint((0, 0, k))),
                "ImageOrientationPatient": [*turned[:, 0].tolist(), *turned[:, 1].tolist()],
                "PixelSpacing": [height, width],
                "InstanceNumber": k + 1,
                "RescaleIntercept": 0,
                "SOPInstanceUID": uid("image", k, tags.get("SeriesInstanceUID")),
                **tags,
            }
        )
        write(folder / f"IM{k:04d}", ds, np.ascontiguousarray(values))
    return folder
