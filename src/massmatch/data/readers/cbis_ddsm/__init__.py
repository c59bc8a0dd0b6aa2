"""CBIS-DDSM (Lee et al., Scientific Data 4:170177, 2017): DICOM from TCIA, or the copy of it in JPEG."""
