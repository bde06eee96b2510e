"""What takes minutes to hours, run by hand: long loads, every kill, ten gigabytes, a million versions.

``python -m benchmarks.soak serve | kill | large | versions``; each ends with exit code 1 where something is not as it
should be, and says what.
"""
