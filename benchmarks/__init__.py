"""Figures with their spread; `make bench` prints them and writes `benchmarks/device.json`."""
