"""DICOM: find the series in a tree of files, read one as a volume in real units, and lay DICOM-SEG masks on it."""
