"""The loss of one image, cell by cell: as numbers, as a figure, as a page."""
