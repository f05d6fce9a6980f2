"""Randomness keyed by (seed, stage, epoch, step, purpose): repeatable, distinct, and of the right distribution."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ups_engine.training.randomness import keys, normal, order, seed_of, uniform

ARGUMENTS = {"seed": 0, "stage": "operator", "epoch": 3, "step": 7, "purpose": "noise"}
OTHERS = [{"seed": 1}, {"stage": "operator2"}, {"epoch": 4}, {"step": 8}, {"purpose": "tau"}]


def key(step=7):
    return keys(0, "operator", 3, range(step, step + 1), "noise")[0]


@pytest.mark.parametrize("change", OTHERS)
def test_every_argument_changes_the_draws(change):
    assert seed_of(**ARGUMENTS) != seed_of(**{**ARGUMENTS, **change})
    other = {**ARGUMENTS, **change}
    step = other.pop("step")
    changed = keys(other["seed"], other["stage"], other["epoch"], range(step, step + 1), other["purpose"])[0]
    assert not torch.equal(normal(changed, (8,)), normal(key(), (8,)))


def test_seeds_stay_what_they_are_between_versions():
    assert seed_of(**ARGUMENTS) == 7871815323677252091
    assert 0 <= seed_of(**ARGUMENTS) < 2**63


def test_a_steps_key_does_not_depend_on_the_range_it_was_made_in():
    assert torch.equal(keys(0, "operator", 3, range(10), "noise")[7], key())
    assert keys(0, "operator", 3, range(0), "noise").shape == (0, 2)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_the_hash_is_splitmix64_in_exact_arithmetic(first, second, count):
    def mix(x):
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    words = [mix((mix((i * 0x9E3779B97F4A7C15 + first) % 2**64) + second) % 2**64) for i in range(1, count + 1)]
    expected = [((word >> 41) + 0.5) / 2**23 for word in words]
    assert uniform(torch.tensor([first, second]), (count,)).tolist() == expected


def test_uniform_draws_are_uniform_open_and_uncorrelated():
    draws = uniform(key(), (200_000,))
    assert draws.min() > 0 and draws.max() < 1
    assert stats.kstest(draws.numpy(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(draws, uniform(key(8), (200_000,)))[0, 1]) < 0.01


def test_normal_draws_are_normal_in_both_halves():
    draws = normal(key(), (100_000, 2)).t().flatten()  # a row's halves are the cosine and the sine of one angle
    assert stats.kstest(draws.numpy(), "norm").pvalue > 0.01
    assert draws.mean().item() == pytest.approx(0, abs=0.01)
    assert draws.var().item() == pytest.approx(1, abs=0.02)
    assert stats.kurtosis(draws.numpy()) == pytest.approx(0, abs=0.05)
    assert draws.abs().max() < math.sqrt(2 * 24 * math.log(2)) + 1e-3
    assert abs(np.corrcoef(draws[:100_000], draws[100_000:])[0, 1]) < 0.01


@pytest.mark.parametrize("draw", [uniform, normal])
def test_a_rows_noise_does_not_depend_on_its_company(draw):
    whole = draw(key(), (8, 5, 3))
    assert torch.equal(draw(key(), (3, 5, 3), torch.tensor([2, 3, 7])), whole[[2, 3, 7]])
    assert len(set(whole.flatten().tolist())) == whole.numel()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5, 2)])
def test_draws_have_the_shape_asked_for(shape):
    assert normal(key(), shape).shape == shape
    assert uniform(key(), shape).shape == shape
    assert normal(key(), shape).dtype == torch.float32


@pytest.mark.gpu
def test_a_gpu_sees_the_draws_of_the_cpu():
    device_key = key().cuda()
    assert torch.equal(uniform(device_key, (1000,)).cpu(), uniform(key(), (1000,)))
    assert torch.allclose(normal(device_key, (1001,)).cpu(), normal(key(), (1001,)), rtol=1e-5, atol=1e-6)


ORDER = {"seed": 3, "stage": "operator", "epoch": 5}


@given(st.integers(0, 300), st.integers(-5, 5), st.sampled_from(["operator", "autoencoder"]), st.integers(0, 50))
def test_an_order_is_a_permutation_and_repeatable(n, seed, stage, epoch):
    first = order(n, seed=seed, stage=stage, epoch=epoch)
    assert sorted(first.tolist()) == list(range(n))
    assert np.array_equal(first, order(n, seed=seed, stage=stage, epoch=epoch))


@pytest.mark.parametrize("change", [{"seed": 4}, {"stage": "diff_residual"}, {"epoch": 6}])
def test_every_argument_changes_the_order(change):
    assert not np.array_equal(order(100, **ORDER), order(100, **{**ORDER, **change}))


def test_the_order_is_the_same_in_another_process_and_between_versions():
    here = order(8, **ORDER).tolist()
    code = f"from ups_engine.training.randomness import order; print(order(8, **{ORDER!r}).tolist())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(here) == "[5, 4, 3, 7, 1, 6, 0, 2]"
