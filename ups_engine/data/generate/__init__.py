"""Solvers that make data where none is at hand: initial conditions, one file per PDE, and the writing."""
