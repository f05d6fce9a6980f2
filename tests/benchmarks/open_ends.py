"""Problems with ends beside ones of like difficulty that wrap, solved here by means of their own, trained alike.

    python tests/benchmarks/open_ends.py [--only heat_dirichlet ...] [--seeds 2] [--device cpu]

A line for each problem and seed: the rollout's and one step's RMSE over persistence's, the reconstruction's error over
the standard deviation, and by field the rollout's RMSE over persistence's and the edge's over the whole field's. A run
takes one to three minutes; results are in docs/ends_and_units.md.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from ups_engine import load_settings, run_pipeline, start_run

GAMMA = 1.4
SOLO = tuple(f"stages.{name}.epochs=0" for name in ("diff_residual", "consistency_distill", "steady_prior"))

Arrays = dict[str, np.ndarray]


def heat(ends: str) -> tuple[Arrays, tuple[str, ...]]:
    """u_t = 0.02 u_xx by its eigenfunctions, 48 trajectories of 21 frames on 64 points."""
    rng, n = np.random.default_rng(0), 48
    x, t, k = (np.arange(64) + 0.5) / 64, np.linspace(0, 0.5, 21), np.arange(1, 9)
    a, phase = rng.normal(size=(n, 8)) / k, rng.uniform(0, 2 * np.pi, (n, 4))

    def series(wave: np.ufunc, half_waves: np.ndarray, base: np.ndarray | float) -> np.ndarray:
        decay = np.exp(-0.02 * (np.pi * half_waves) ** 2 * t[:, None])
        return base + np.einsum("nk,tk,kx->ntx", a, decay, wave(np.pi * half_waves[:, None] * x))

    if ends == "periodic":
        waves = 2 * np.pi * k[:4]
        decay = np.exp(-0.02 * waves**2 * t[:, None])
        u = np.einsum("nk,tk,nkx->ntx", a[:, :4], decay, np.sin(waves[:, None] * x + phase[..., None]))
    else:
        u = {
            "dirichlet": lambda: series(np.sin, k, 1 - x),
            "neumann": lambda: series(np.cos, k, 0.0),
            "mixed": lambda: series(np.sin, k - 0.5, 1.0),
        }[ends]()
    return {"data": u, "x-coordinate": x, "t-coordinate": t}, ()


def tube(ends: str) -> tuple[Arrays, tuple[str, ...]]:
    """Euler's equations from Riemann data by Rusanov's flux, minmod and Heun on 512 cells, averaged to 128."""
    rng, n, points, fine, frame = np.random.default_rng(0), 64, 128, 512, 0.01
    x = (np.arange(fine) + 0.5) / fine

    def state() -> np.ndarray:
        return np.stack([rng.uniform(0.5, 2, n), rng.uniform(-0.3, 0.3, n), rng.uniform(0.5, 2, n)])

    left, right, place = state(), state(), rng.uniform(0.3, 0.7, n)[:, None]
    inside = np.abs(x - place) < 0.2 if ends == "periodic" else x < place
    rho, v, p = np.where(inside, left[..., None], right[..., None])
    u = np.stack([rho, rho * v, p / (GAMMA - 1) + 0.5 * rho * v**2])

    def primitive(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return u[0], u[1] / u[0], (GAMMA - 1) * (u[2] - 0.5 * u[1] ** 2 / u[0])

    def flux(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rho, v, p = primitive(u)
        return np.stack([u[1], u[1] * v + p, (u[2] + p) * v]), np.abs(v) + np.sqrt(GAMMA * p / rho)

    def rate(u: np.ndarray) -> np.ndarray:
        q = np.pad(u, ((0, 0), (0, 0), (2, 2)), mode="wrap" if ends == "periodic" else "edge")
        before, after = np.diff(q)[..., :-1], np.diff(q)[..., 1:]
        slope = np.where(before * after > 0, np.sign(after) * np.minimum(np.abs(before), np.abs(after)), 0)
        a, b = q[..., 1:-2] + 0.5 * slope[..., :-1], q[..., 2:-1] - 0.5 * slope[..., 1:]
        (fa, ca), (fb, cb) = flux(a), flux(b)
        return -np.diff(0.5 * (fa + fb) - 0.5 * np.maximum(ca, cb) * (b - a)) * fine

    frames, steps = [], 16
    for _ in range(21):
        frames.append(np.stack(primitive(u)).reshape(3, n, points, -1).mean(-1))
        for _ in range(steps):
            once = u + frame / steps * rate(u)
            u = 0.5 * (u + once + frame / steps * rate(once))
    rho, v, p = np.stack(frames, 2)
    axes = {"x-coordinate": x.reshape(points, -1).mean(1), "t-coordinate": frame * np.arange(22)}
    return {"density": rho, "Vx": v, "pressure": 1e5 * p, **axes}, ("data.patch_size=4", "latent.dim=12")


def sorption(ends: str) -> tuple[Arrays, tuple[str, ...]]:
    """u_t = D / R(u) u_xx with Freundlich's retardation, PDEBench's constants; u = 1 on the left, u = D u_x right."""
    rng, n, points, diffusivity, frame, steps = np.random.default_rng(0), 64, 128, 5e-4, 25.0, 800
    x, dx = (np.arange(points) + 0.5) / points, 1 / points
    if ends == "periodic":
        waves = np.zeros((n, points))
        for k in (1, 2, 3):
            waves += rng.normal(size=(n, 1)) / k * np.sin(2 * np.pi * k * x + rng.uniform(0, 2 * np.pi, (n, 1)))
        u = 0.1 + 0.1 * np.clip(waves, -0.9, 0.9)
    else:
        u = rng.uniform(0, 0.2, (n, 1)) * np.ones(points)
    frames = []
    for _ in range(21):
        frames.append(u)
        for _ in range(steps):
            retardation = 1 + (1 - 0.29) / 0.29 * 2880 * 3.5e-4 * 0.874 * np.maximum(u, 1e-6) ** (0.874 - 1)
            beyond = (u[:, -1:], u[:, :1]) if ends == "periodic" else (2 - u[:, :1], u[:, -1:] * (1 - dx * diffusivity))
            curvature = np.diff(np.concatenate([beyond[0], u, beyond[1]], 1), 2, axis=1) / dx**2
            u = u + frame / steps * diffusivity / retardation * curvature
    axes = {"x-coordinate": x, "t-coordinate": frame * np.arange(21)}
    return {"data": np.stack(frames, 1), **axes}, ()


def reaction(ends: str) -> tuple[Arrays, tuple[str, ...]]:
    """FitzHugh and Nagumo's equations on 32 x 32 points by explicit differences, PDEBench's constants."""
    rng, n, points, frame, steps = np.random.default_rng(0), 48, 32, 0.25, 50
    x, dx, h = -1 + (2 * np.arange(points) + 1) / points, 2 / points, frame / steps

    def laplacian(a: np.ndarray) -> np.ndarray:
        e = np.pad(a, ((0, 0), (1, 1), (1, 1)), mode="wrap" if ends == "periodic" else "edge")
        return (e[:, 2:, 1:-1] + e[:, :-2, 1:-1] + e[:, 1:-1, 2:] + e[:, 1:-1, :-2] - 4 * a) / dx**2

    u, v = rng.normal(size=(2, n, points, points))
    for _ in range(200):  # noise is smoothed first
        u, v = u + h * 1e-2 * laplacian(u), v + h * 1e-2 * laplacian(v)
    u, v = u / u.std((1, 2), keepdims=True), v / v.std((1, 2), keepdims=True)
    frames = []
    for _ in range(17):
        frames.append(np.stack([u, v], -1))
        for _ in range(steps):
            u, v = u + h * (1e-3 * laplacian(u) + u - u**3 - 5e-3 - v), v + h * (5e-3 * laplacian(v) + u - v)
    axes = {"x-coordinate": x, "y-coordinate": x, "t-coordinate": frame * np.arange(17)}
    return {"data": np.stack(frames, 1), **axes}, ("data.patch_size=4", "latent.dim=32")


PROBLEMS: dict[str, tuple[Callable[[str], tuple[Arrays, tuple[str, ...]]], tuple[str, ...]]] = {
    "heat": (heat, ("dirichlet", "neumann", "mixed", "periodic")),
    "sorption": (sorption, ("dirichlet", "periodic")),
    "reaction": (reaction, ("neumann", "periodic")),
    "tube": (tube, ("trans", "periodic")),
}
"""By name: the solver, and what the ends may be."""


def trials() -> Iterator[str]:
    """Names of all problems with their ends."""
    return (f"{name}_{kind}" for name, (_, kinds) in PROBLEMS.items() for kind in kinds)


def trial(name: str, seed: int, folder: Path, overrides: list[str]) -> str:
    """Make the data, train an autoencoder and an operator, and give the line."""
    problem, ends = name.split("_")
    arrays, fitting = PROBLEMS[problem][0](ends)
    path = folder / (f"1D_CFD_{ends}_{seed}.hdf5" if problem == "tube" else f"{name}_{seed}.h5")
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file[key] = values if key.endswith("coordinate") else values.astype(np.float32)
        if problem != "tube":  # its name says it
            file.attrs["periodic"] = ends == "periodic"
    resolved = load_settings(
        overrides=[
            f"data.path={path}",
            f"runs.root={folder}",
            f"runs.name={name}-{seed}",
            f"seed={seed}",
            "data.spatial_stride=1",
            "data.time_stride=1",
            *SOLO,
            *fitting,
            *overrides,
        ]
    )
    run = start_run(resolved.settings, origins=resolved.origins, argv=["open_ends"])
    run_pipeline(run)
    report = json.loads((run.reports / "evaluation.json").read_text())
    ours, still = report["variants"]["operator"], report["variants"]["persistence"]
    shares = [ours[kind]["rmse_over_std"] / still[kind]["rmse_over_std"] for kind in ("rollout", "one_step")]
    by_field = [
        f"{field} {errors['rmse'] / still['rollout']['fields'][field]['rmse']:.3f}"
        f" edge {errors['brmse'] / errors['rmse']:.2f}"
        for field, errors in ours["rollout"]["fields"].items()
    ]
    lost = report["reconstruction"]["rmse_over_std"]
    return f"{name:18} seed {seed}: rollout {shares[0]:.4f} one step {shares[1]:.4f} reconstruction {lost:.1e}; " + (
        ", ".join(by_field)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(trials()), default=list(trials()))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            for seed in range(given.seeds):
                print(trial(name, seed, Path(folder), [f"runtime.device={given.device}", *given.set]), flush=True)


if __name__ == "__main__":
    main()
