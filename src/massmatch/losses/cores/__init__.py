"""Core losses: ordinary losses that reduce the pixel axes of a region and keep every axis in front."""
