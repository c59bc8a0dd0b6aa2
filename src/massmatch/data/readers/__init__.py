"""Readers: each lists the images of a dataset as it is on disk, before any pixel is read."""
