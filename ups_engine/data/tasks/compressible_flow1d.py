"""Compressible Navier-Stokes in one dimension: mass, momentum and energy of an ideal gas with gamma = 5/3.

State: density, pressure and velocity Vx. Random fields steepen into shocks, which run, meet and decay; files named
`periodic` wrap, those named `trans` let waves out. PDEBench gives eta = zeta from 1e-8, shocks as sharp as the grid,
to 0.1.
"""

from ups_engine.data.tasks.base import Axis, Field, Parameter, Task

TASK = Task(
    name="compressible_flow1d",
    title="1D_CFD",
    fields=(Field("density"), Field("pressure"), Field("Vx", reflected=(-1,))),
    parameters=(
        Parameter("eta", 0.01, "shear viscosity", positive=True),
        Parameter("zeta", 0.01, "bulk viscosity", positive=True),
        Parameter("mach", 1.0, "Mach number of the initial state", symbol="M", positive=True),
    ),
    axes=(Axis(boundary=None),),
    conserved=("density",),
    symmetries=("shift", "reflection"),
)
