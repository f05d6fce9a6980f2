"""Reaction-diffusion in one dimension, u_t - nu u_xx = rho u (1 - u): Fisher's equation, periodic on [0, 1].

State: one field u between 0 and 1. Blobs spread and grow until u is 1 everywhere, within a time of a few 1 / rho.
PDEBench gives nu and rho in {0.5, 1, 2, 5} and {1, 2, 5, 10}, 101 frames to t = 1.
"""

from ups_engine.data.tasks.base import Axis, Field, Parameter, Task

TASK = Task(
    name="reaction_diffusion1d",
    title="ReacDiff",
    fields=(Field("u"),),
    parameters=(
        Parameter("nu", 0.5, "diffusion coefficient", symbol="Nu", positive=True),
        Parameter("rho", 1.0, "rate of the reaction", symbol="Rho"),
    ),
    axes=(Axis(),),
    symmetries=("shift", "reflection"),
)
