"""Device and arithmetic: what is asked for is there or refused in a line; compiling never costs the run."""

import pytest
import torch
from toys import Events, Regression, furthest, trainer, weights

from ups_engine.config.models import BackboneSettings
from ups_engine.config.schema import RuntimeSettings
from ups_engine.errors import SettingsError
from ups_engine.models.backbone import Backbone
from ups_engine.models.operator import LatentOperator
from ups_engine.models.tokens import TokenGrid
from ups_engine.training.machine import pick_device, prepare_network, set_precision

PRECISIONS = ("fp32", "tf32", "bf16")


class Latents(Regression):
    """The toy task with a real network over tokens."""

    def __init__(self):
        super().__init__(samples=16)
        torch.manual_seed(0)
        backbone = BackboneSettings(hidden=8, depth=1, heads=1, mlp_ratio=1)
        operator = LatentOperator(TokenGrid((16,), 4, (True,)), 1, backbone, parameters=0, reference_dt=1.0)
        self.network = Tokens(operator)

    def after_step(self, taken):
        pass


class Tokens(torch.nn.Module):
    def __init__(self, operator):
        super().__init__()
        self.operator = operator

    def forward(self, x):
        return self.operator(x.unsqueeze(-1), x.new_zeros(len(x), 0), x.new_ones(len(x))).mean(1)


@pytest.fixture
def training(tmp_path):
    from toys import settings

    return lambda *overrides: settings(tmp_path, *overrides)[1]


def test_the_cpu_is_picked_where_it_is_asked_for():
    assert pick_device(RuntimeSettings(device="cpu")) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_a_gpu_is_refused():
    assert pick_device(RuntimeSettings(device="auto")) == torch.device("cpu")
    with pytest.raises(SettingsError, match=r"runtime.device = 'cuda:1', but PyTorch sees 0 GPU\(s\) here") as caught:
        pick_device(RuntimeSettings(device="cuda:1"))
    assert caught.value.exit_code == 2 and "CUDA_VISIBLE_DEVICES" in caught.value.hint


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "cuda0"])
def test_a_device_that_is_none_is_refused(name):
    with pytest.raises(SettingsError, match="is no device"):
        pick_device(RuntimeSettings(device=name))


def test_the_number_of_threads_is_set():
    before = torch.get_num_threads()
    try:
        pick_device(RuntimeSettings(device="cpu", threads=before + 1))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_cpu_computes_in_fp32_whatever_the_precision(training, precision):
    settings = training(f"training.precision={precision}")
    set_precision(settings, torch.device("cpu"))
    assert torch.get_float32_matmul_precision() == "highest"
    task = Latents()
    prepare_network(task.network, settings, torch.device("cpu"))
    assert not task.network.operator.backbone.half_precision


@pytest.mark.parametrize("precision", PRECISIONS)
def test_on_a_gpu_bf16_is_for_the_blocks_of_networks_over_tokens(training, precision):
    task = Latents()
    prepare_network(task.network, training(f"training.precision={precision}"), torch.device("cuda"))
    assert [m.half_precision for m in task.network.modules() if isinstance(m, Backbone)] == [precision == "bf16"]


def test_a_compiler_that_is_missing_costs_a_warning_and_no_number(tmp_path, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    torch._dynamo.reset()
    eager = trainer(tmp_path, Latents(), "stages.autoencoder.epochs=2")
    eager.run()
    events = Events()
    compiled = trainer(tmp_path, Latents(), "stages.autoencoder.epochs=2", "training.compile=true", events=events)
    compiled.run()
    torch._dynamo.reset()
    [(_, _, _, data)] = events.of("warning")
    assert data["message"].startswith("compiling failed, going on without: ")
    assert furthest(weights(compiled), weights(eager)) == 0


@pytest.mark.gpu
def test_a_compiled_network_trains_to_the_same_numbers(tmp_path):
    """On a GPU only: compiling for a CPU takes longer than all other tests here."""
    found = []
    for switch in ("false", "true"):
        task, events = Latents(), Events()
        task.network.cuda()
        task.x, task.y = task.x.cuda(), task.y.cuda()
        of = trainer(tmp_path, task, f"training.compile={switch}", "training.precision=fp32", events=events)
        of.run()
        assert not events.of("warning")
        found.append(weights(of))
    assert furthest(*found) < 1e-4
