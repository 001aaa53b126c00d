"""What ``benchmarks/on_gpu.py`` is made of: parts, the children that run them, and the files that come back."""
