"""A run on disk: its experiment, folder, checkpoints, weights and history; a crash loses none of them."""
