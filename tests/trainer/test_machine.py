"""What a loop gets from its machine: its rows, its precision, its gradients; and sentences where it does not fit.

That several processes compute what one does is shown in test_torchrun.py.
"""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from trainer.errors import TrainerError
from trainer.machine import Machine, open_machine
from trainer.nets import RANDOM, build_net

torch.set_num_threads(1)


def pixels(rows: int, size_px: int = 32) -> Tensor:
    return torch.randn(rows, 3, size_px, size_px, generator=torch.Generator().manual_seed(rows))


# Rows


def test_the_rows_of_a_batch_are_dealt_out_once_each_and_weigh_the_same() -> None:
    machines = [Machine(rank=rank, world=3) for rank in range(3)]
    assert [list(machine.rows(10, 17)) for machine in machines] == [[10, 13, 16], [11, 14], [12, 15]]
    assert [machine.share(10, 17) for machine in machines] == [3 / 7, 2 / 7, 2 / 7]
    assert (Machine().rows(10, 17), Machine().share(10, 17)) == (range(10, 17), 1.0)


def test_who_goes_empty_looks_at_the_first_row_for_nothing() -> None:
    machines = [Machine(rank=rank, world=4) for rank in range(4)]
    assert [list(machine.rows(8, 10)) for machine in machines] == [[8], [9], [8], [8]]
    assert [machine.share(8, 10) for machine in machines] == [0.5, 0.5, 0.0, 0.0]


# One process


def test_alone_it_computes_what_torch_does() -> None:
    torch.manual_seed(1)
    net = build_net("cnn4", 3, RANDOM).train()
    plain, machine = copy.deepcopy(net), Machine()
    placed = machine.place(net)
    assert placed is net
    assert [type(module) for module in net.modules()] == [type(module) for module in plain.modules()]
    loss = F.cross_entropy(plain(pixels(6))[0], torch.tensor([0, 1, 2, 0, 1, 2]))
    loss.backward()  # type: ignore[no-untyped-call]
    for _ in range(2):  # gradients are set, not added up
        with machine.autocast():
            own = F.cross_entropy(net(pixels(6))[0], torch.tensor([0, 1, 2, 0, 1, 2]))
        whole = machine.backward(own, 1.0, net)
    assert (whole.item(), whole.requires_grad) == (pytest.approx(loss.item(), rel=1e-6), False)
    for (name, mine), theirs in zip(net.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, msg=name)
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    before = net.head.bias.detach().clone()
    machine.step(optimizer)
    assert net.head.bias.grad is not None
    torch.testing.assert_close(net.head.bias.detach(), before - 0.5 * net.head.bias.grad)
    assert (machine.is_first, machine.total(2.5), machine.agree(True), machine.agree(False)) == (True, 2.5, True, False)


def test_frozen_weights_get_no_gradient() -> None:
    net = build_net("cnn4", 3, RANDOM).train()
    net.stages[0].requires_grad_(False)
    Machine().backward(net(pixels(2))[0].sum(), 1.0, net)
    assert [weight.grad is None for weight in net.stages[0].parameters()] == [True] * 4
    assert [name for name, weight in net.named_parameters() if weight.requires_grad and weight.grad is None] == []


def test_half_precision_computes_nearly_the_same_and_keeps_whole_weights() -> None:
    torch.manual_seed(1)
    net, machine = build_net("cnn4", 3, RANDOM).train(), Machine(half=torch.bfloat16)
    machine.place(net)
    with machine.autocast():
        logits, _ = net(pixels(6))
        loss = logits.float().logsumexp(1).mean()
    whole = machine.backward(loss, 1.0, net)
    assert (logits.dtype, net.head.weight.dtype) == (torch.bfloat16, torch.float32)
    assert net.head.weight.grad is not None
    assert net.head.weight.grad.dtype == torch.float32
    exact = net(pixels(6))[0].logsumexp(1).mean().item()
    assert whole.item() == pytest.approx(exact, rel=0.01)
    assert whole.item() != exact
    assert (machine.name, Machine().name, Machine(world=2).name) == ("cpu, bfloat16", "cpu", "2 x cpu")


def test_float16_steps_are_scaled_and_those_that_run_over_are_left_out() -> None:
    net, machine = nn.Linear(1, 1, bias=False), Machine(half=torch.float16)
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    before, scale = net.weight.item(), machine.scaler.get_scale()
    whole = machine.backward(net(torch.tensor([[2.0]])).sum(), 1.0, net)
    assert whole.item() == pytest.approx(2 * before)
    assert net.weight.grad is not None
    assert net.weight.grad.item() == 2 * scale > 1000
    machine.step(optimizer)
    assert net.weight.item() == pytest.approx(before - 2.0)
    machine.backward(net(torch.tensor([[torch.inf]])).sum(), 1.0, net)
    machine.step(optimizer)
    assert net.weight.item() == pytest.approx(before - 2.0)
    assert machine.scaler.get_scale() == scale / 2


# Several processes, as far as one can tell: a group of one


@pytest.fixture
def group() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("name", ["cnn4", "nano"])
def test_shared_batch_norms_are_batch_norms(name: str) -> None:
    torch.manual_seed(1)
    plain = build_net(name, 3, RANDOM).double().train()
    # The machine believes that there are two; the group knows better, so that sums are its own.
    net = Machine(world=2).place(copy.deepcopy(plain))
    assert list(net.state_dict()) == list(plain.state_dict())
    assert {type(module).__name__ for module in net.modules()} & {"BatchNorm2d", "BatchNormAct2d"} == set()
    for step in range(3):
        batch = pixels(5 + step, 64).double()
        wanted, made = plain(batch)[0], net(batch)[0]
        # Statistics are computed in float32, as at half precision.
        torch.testing.assert_close(made, wanted, atol=1e-4, rtol=1e-4)
        wanted.square().sum().backward()
        Machine(world=2).backward(made.square().sum(), 1.0, net)
    for (key, mine), theirs in zip(net.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4, msg=key)
    assert net.state_dict()["stages.0.1.num_batches_tracked"].item() == 3
    torch.testing.assert_close(net.eval()(batch)[0], plain.eval()(batch)[0], atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("group")
def test_shared_batch_norms_pass_the_gradient_of_their_statistics_on() -> None:
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).train()
    net = Machine(world=2).place(copy.deepcopy(plain))
    want = torch.randn(8)
    for made in (plain, net):
        ((made(pixels(4)) + 100).mean((0, 2, 3)) * want).sum().backward()
    assert [type(module).__name__ for module in net] == ["Conv2d", "_SharedBatchNorm", "ReLU"]
    for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-4, rtol=1e-4)


# Where it does not fit


@pytest.mark.parametrize(
    ("batch", "cure"), [(48, "set train.batch = 24"), (3, "set train.batch = 1"), (1, "set a smaller size_px")]
)
def test_out_of_memory_names_the_batch_to_try(batch: int, cure: str) -> None:
    with pytest.raises(TrainerError) as caught, Machine().within_memory(batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    assert str(caught.value) == f"cpu: out of memory with {batch} pictures in a batch; {cure} in the recipe"


def test_other_errors_pass_through_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), Machine().within_memory(8):
        raise RuntimeError("shapes")


def test_without_torchrun_there_is_one_process_whatever_else_is_set() -> None:
    with open_machine({"WORLD_SIZE": "8", "RANK": "3"}) as machine:
        assert (machine.rank, machine.world) == (0, 1)
    with open_machine({"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}) as machine:
        assert (machine.rank, machine.world, distributed.is_initialized()) == (0, 1, False)
