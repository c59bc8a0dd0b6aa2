"""Pages on one's own machine: the loss bench and the reading of mammograms. Python answers all mathematics."""
