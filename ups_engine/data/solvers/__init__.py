"""What solvers of tasks share: random initial conditions, and how their work is cut."""
