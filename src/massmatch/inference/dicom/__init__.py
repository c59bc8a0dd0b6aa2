"""Findings as DICOM objects, for viewers and archives."""
