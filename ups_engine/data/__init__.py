"""Simulation data: sources by file format, splits, normalisation, latent pairs, and solvers that make data."""
