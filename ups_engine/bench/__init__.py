"""Benchmarks: how fast this machine does what training waits for."""
