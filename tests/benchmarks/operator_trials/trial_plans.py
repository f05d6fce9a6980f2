"""The plans of `operator_trials.py`: lists of trials, the ones that say most first."""

from typing import Any

_SPEED = {"kind": "speed", "seconds": 60.0}
_TOKENS = {"shift": True, "galilean": True}
_SMALL = {"kind": "smoke", "width": 32, "layers": 2, "modes": 16, "batch": 64, "compiled": "none", "seconds": 30.0}
_HORIZONS_OF_256 = [[256, 1], [256, 2], [256, 4]]
_BATCHES = [*_HORIZONS_OF_256, [128, 1], [512, 1]]

SMOKE: list[dict[str, Any]] = [
    {"name": "smoke none", **_SMALL, "boosts": 8},
    {"name": "smoke block", **_SMALL, "compiled": "block", "galilean": True, "hidden": 64},
    {"name": "smoke step", **_SMALL, "compiled": "step", "latent": "lapped", "patch": 4, "local": 3, "stem": 3},
    {"name": "smoke whole", **_SMALL, "compiled": "whole", "groups": 4, "products": "bf16"},
    {"name": "smoke muon fp16", **_SMALL, "products": "fp16", "optimiser": "muon", "latent": "frame", "patch": 4},
    {"name": "smoke batch_first", **_SMALL, "layout": "batch_first", "detach": True, "modes": 129},
    {"name": "smoke speed", **_SMALL, "kind": "speed", "compiled": "block", "profile": True},
    {"name": "smoke behind", **_SMALL, "kind": "train", "seconds": 25.0, "compiled": "behind"},
    {"name": "smoke ceilings", "kind": "ceilings", "seconds": 15.0},
]

SPEED: list[dict[str, Any]] = [
    {"name": "ceilings", "kind": "ceilings", "seconds": 15.0},
    {"name": "none", **_SPEED, "compiled": "none", "measure": _BATCHES, "profile": True},
    {"name": "block cold", **_SPEED, "compiled": "block", "measure": _BATCHES, "cache": "block", "profile": True},
    {"name": "block warm", **_SPEED, "compiled": "block", "measure": [[256, 1]], "cache": "block"},
    {"name": "step cold", **_SPEED, "compiled": "step", "measure": _HORIZONS_OF_256, "cache": "step", "profile": True},
    {"name": "step warm", **_SPEED, "compiled": "step", "measure": [[256, 1]], "cache": "step"},
    {"name": "block fp16", **_SPEED, "compiled": "block", "products": "fp16", "profile": True},
    {"name": "block bf16", **_SPEED, "compiled": "block", "products": "bf16"},
    {"name": "none fp16", **_SPEED, "compiled": "none", "products": "fp16"},
    {"name": "none batch_first", **_SPEED, "compiled": "none", "layout": "batch_first", "profile": True},
    {"name": "block galilean", **_SPEED, "compiled": "block", "galilean": True},
    {"name": "block patch 2", **_SPEED, "compiled": "block", "latent": "patch", "patch": 2, "width": 128},
    {"name": "block lapped 4 grouped", **_SPEED, "compiled": "block", "latent": "lapped", "patch": 4, "width": 192,
     "groups": 4, "local": 3},
    {"name": "block hidden 128", **_SPEED, "compiled": "block", "hidden": 128},
    {"name": "block muon", **_SPEED, "compiled": "block", "optimiser": "muon"},
    {"name": "eager", **_SPEED, "compiled": "none", "graphs": False, "measure": [[256, 1]]},
    {"name": "none fp32", **_SPEED, "compiled": "none", "products": "fp32", "measure": [[256, 1]]},
    {"name": "step batch_first", **_SPEED, "compiled": "step", "layout": "batch_first", "measure": [[256, 1]]},
    {"name": "whole cold", **_SPEED, "seconds": 120.0, "compiled": "whole", "cache": "whole"},
    {"name": "whole warm", **_SPEED, "compiled": "whole", "cache": "whole"},
]  # fmt: skip

_BLOCK = {"compiled": "block"}
ACCURACY: list[dict[str, Any]] = [
    {"name": "points", **_BLOCK},
    {"name": "galilean", **_BLOCK, "galilean": True},
    {"name": "boosts 8", **_BLOCK, "boosts": 8},
    {"name": "patch 2", **_BLOCK, **_TOKENS, "latent": "patch", "patch": 2, "width": 128},
    {"name": "galilean batch 128", **_BLOCK, "galilean": True, "batch": 128, "lr": 1.5e-3},
    {"name": "lapped 4 grouped local", **_BLOCK, **_TOKENS, "latent": "lapped", "patch": 4, "width": 192, "groups": 4,
     "local": 3, "stem": 3},
    {"name": "galilean hidden 128", **_BLOCK, "galilean": True, "hidden": 128},
    {"name": "galilean first frame", **_BLOCK, "galilean": True, "first": 0.3, "first_frames": 1},
    {"name": "galilean fp16", **_BLOCK, "galilean": True, "products": "fp16"},
    {"name": "galilean not compiled", "compiled": "none", "galilean": True},
    {"name": "galilean behind", "compiled": "behind", "galilean": True},
    {"name": "galilean muon", **_BLOCK, "galilean": True, "optimiser": "muon"},
    {"name": "galilean local 3", **_BLOCK, "galilean": True, "local": 3},
    {"name": "patch 2 local", **_BLOCK, **_TOKENS, "latent": "patch", "patch": 2, "width": 96, "local": 3, "stem": 3},
    {"name": "lapped 2", **_BLOCK, **_TOKENS, "latent": "lapped", "patch": 2, "width": 128},
    {"name": "frame 4 grouped local", **_BLOCK, **_TOKENS, "latent": "frame", "patch": 4, "width": 192, "groups": 4,
     "local": 3},
    {"name": "lapped 8 grouped", **_BLOCK, **_TOKENS, "latent": "lapped", "patch": 8, "width": 256, "groups": 4,
     "modes": 17, "local": 3},
    {"name": "galilean lr 4e-3", **_BLOCK, "galilean": True, "lr": 4e-3},
    {"name": "galilean all modes", **_BLOCK, "galilean": True, "modes": 129},
    {"name": "galilean width 96", **_BLOCK, "galilean": True, "width": 96},
    {"name": "galilean layers 8", **_BLOCK, "galilean": True, "layers": 8, "width": 48},
    {"name": "galilean groups 4", **_BLOCK, "galilean": True, "groups": 4},
    {"name": "galilean pushforward", **_BLOCK, "galilean": True, "detach": True},
    {"name": "galilean later horizons", **_BLOCK, "galilean": True, "horizons": [[0, 1], [0.7, 2], [0.85, 4]]},
    {"name": "galilean horizon 8", **_BLOCK, "galilean": True, "horizons": [[0, 1], [0.5, 2], [0.7, 4], [0.9, 8]]},
    {"name": "galilean cell means", **_BLOCK, "galilean": True, "reduce": "average"},
    {"name": "galilean mean free to move", **_BLOCK, "galilean": True, "mean_free": False},
]  # fmt: skip

FINAL: list[dict[str, Any]] = [
    {"name": "final boosts 8 batch 128", **_BLOCK, "boosts": 8, "batch": 128, "lr": 1.5e-3, "seconds": 230.0},
    {"name": "final boosts 8 muon", **_BLOCK, "boosts": 8, "optimiser": "muon", "seconds": 230.0},
]

PLANS = {"smoke": SMOKE, "speed": SPEED, "accuracy": ACCURACY, "final": FINAL}
