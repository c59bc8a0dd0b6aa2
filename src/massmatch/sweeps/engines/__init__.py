"""Where the runs of a sweep are computed: processes on this machine, or tasks on a Ray cluster."""
