"""Which exercises are solved, attempted, untouched: noted when a check runs in a notebook, kept beside the notebooks."""
