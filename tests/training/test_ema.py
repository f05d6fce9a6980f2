"""The moving average follows its formula, buffers included, and never trains."""

import pytest
import torch
from torch import nn

from ups_engine.training.ema import EMA


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def moved(net, value):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)
        net.scale.fill_(value)
        net.count += 1


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_follows_its_formula_with_warm_up(decay):
    net = Net()
    moved(net, 0.0)
    ema, expected = EMA(net, decay), 0.0
    for n, value in enumerate([1.0, 2.0, -1.0, 4.0] * 5):
        moved(net, value)
        ema.update()
        d = min(decay, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * value
    assert torch.allclose(ema.module.linear.weight, torch.tensor(expected), atol=1e-6)
    assert torch.allclose(ema.module.scale, torch.tensor(expected), atol=1e-6)
    assert ema.module.count.item() == net.count.item()


def test_the_decay_is_reached_after_the_warm_up():
    net = Net()
    moved(net, 0.0)
    ema = EMA(net, 0.9)
    for _ in range(200):
        ema.update()
    moved(net, 1.0)
    ema.update()
    assert ema.module.linear.weight[0, 0].item() == pytest.approx(0.1, rel=1e-6)


def test_a_skipped_step_leaves_the_average_and_its_warm_up_alone():
    net = Net()
    moved(net, 0.0)
    steady, skipping = EMA(net, 0.99), EMA(net, 0.99)
    moved(net, 1.0)
    for step in range(6):
        skipping.update(torch.tensor(float(step % 2)))
        if step % 2:
            steady.update(torch.tensor(1.0))
    one, two = steady.state_dict(), skipping.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_copy_is_frozen_and_apart():
    net = Net()
    ema = EMA(net.train(), 0.5)
    assert not ema.module.training
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert all(p.requires_grad for p in net.parameters())
    before = ema.module.linear.weight.clone()
    moved(net, 9.0)
    assert torch.equal(ema.module.linear.weight, before)


def test_a_constant_network_is_its_own_average_to_the_last_bit():
    net = Net()
    ema = EMA(net, 0.999)
    for _ in range(50):
        ema.update()
    assert all(torch.equal(a, b) for a, b in zip(ema.module.parameters(), net.parameters(), strict=True))


def test_a_saved_average_goes_on_bit_for_bit():
    def run(interrupted):
        torch.manual_seed(0)
        net = Net()
        ema = EMA(net, 0.99)
        for step in range(8):
            if interrupted and step == 4:
                stored = {name: tensor.clone() for name, tensor in ema.state_dict().items()}
                ema = EMA(net, 0.99)
                ema.load_state_dict(stored)
            moved(net, 0.1 * step)
            ema.update()
        return ema.state_dict()

    one, two = run(True), run(False)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_weights_of_another_network_are_refused():
    with pytest.raises(RuntimeError):
        EMA(nn.Linear(2, 2), 0.9).load_state_dict(EMA(Net(), 0.9).state_dict())


@pytest.mark.gpu
def test_an_update_can_be_part_of_a_cuda_graph():
    net = Net().cuda()
    moved(net, 0.0)
    eager, captured = EMA(net, 0.9), EMA(net, 0.9)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured.update()
    for value in (1.0, 2.0, 3.0):
        moved(net, value)
        eager.update()
        graph.replay()
    assert torch.equal(eager.module.linear.weight, captured.module.linear.weight)
