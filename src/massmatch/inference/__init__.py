"""Trained networks on new images."""
