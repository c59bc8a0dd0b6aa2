"""Losses of other authors, with which the Spatial Matching loss is compared."""
