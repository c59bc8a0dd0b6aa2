"""The grid of one image: its geometry, what depends on the truth alone (facts), and what losses over cells share."""
