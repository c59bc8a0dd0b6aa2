"""INbreast (Moreira et al., Academic Radiology 19, 2012): images in DICOM, outlines as property lists, one table."""
