"""Machine: what a network is trained on, so that a training loop need not know.

    a GPU or none, torchrun's variables -> open_machine -> Machine -> the loop's rows, precision, steps

One process trains on its GPU, or on the CPU where there is none. Several, started by `torchrun`, each take every n-th
row of a batch, and whatever is computed over a batch (loss, gradients, the statistics of batch norms) is summed over
all of them: n processes compute what one would, up to rounding. The students are small, so gradients travel as one
vector after each backward pass; nothing here overlaps or compresses. It must never read or write a run.
"""

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from trainer.errors import TrainerError
from trainer.progress import console

__all__ = ["Machine", "open_machine"]

AnyNet = TypeVar("AnyNet", bound=nn.Module)


class Machine:
    """One process's part of what trains.

    Attributes:
        device: where its tensors are.
        half: precision of the layers that stand it, in `autocast`; None computes all in float32.
        rank, world: its number, and how many processes there are.
        scaler: keeps small gradients of float16 from vanishing; does nothing at other precisions. Part of a
            checkpoint: `state_dict()`.
    """

    def __init__(self, device: str = "cpu", half: torch.dtype | None = None, rank: int = 0, world: int = 1) -> None:
        self.device = torch.device(device)
        self.half = half
        self.rank, self.world = rank, world
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half == torch.float16)

    @property
    def is_first(self) -> bool:
        """True for the process that writes files and talks."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """For a person: `cpu`, `2 x cuda (NVIDIA H200), bfloat16`."""
        text = f"{self.world} x {self.device.type}" if self.world > 1 else self.device.type
        if self.device.type == "cuda":
            text += f" ({torch.cuda.get_device_name(self.device)})"
        return text + (f", {str(self.half).removeprefix('torch.')}" if self.half else "")

    def rows(self, start: int, end: int) -> range:
        """This process's positions of the batch `start` to `end`.

        In a batch of fewer rows than processes, those that go empty look at its first row, for nothing.
        """
        return range(start + self.rank, end, self.world) or range(start, start + 1)

    def share(self, start: int, end: int) -> float:
        """How much of the batch's mean loss those rows are, 0..1."""
        return len(range(start + self.rank, end, self.world)) / (end - start)

    def place(self, net: AnyNet) -> AnyNet:
        """Put a network here, in the layout that is fast for convolutions; of several processes, all get the first's.

        Returns:
            The same network, changed in place; its tensors keep their names.
        """
        net.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.world > 1:
            _share_batch_norms(net)
            with torch.no_grad():
                for tensor in (*net.parameters(), *net.buffers()):
                    distributed.broadcast(tensor, 0)
        return net

    def autocast(self) -> AbstractContextManager[Any]:
        """The context that a forward pass and its loss run in."""
        return torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None)

    def answering(self) -> AbstractContextManager[Any]:
        """The context that a network answers in that does not learn: half precision on processors that have it, too."""
        has_it = self.half is None and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return torch.autocast("cpu", torch.bfloat16) if has_it and self.device.type == "cpu" else self.autocast()

    def backward(self, loss: Tensor, share: float, net: nn.Module) -> Tensor:
        """Gradients of the whole batch's mean loss, in every process the same.

        Args:
            loss: the mean over this process's rows.
            share: of those rows.
            net: its parameters' `grad` is set, and not added to.

        Returns:
            The whole batch's mean loss, detached.
        """
        learnt = [weight for weight in net.parameters() if weight.requires_grad]
        for weight in learnt:
            weight.grad = None
        own = loss * share
        self.scaler.scale(own).backward()  # type: ignore[no-untyped-call]
        whole = own.detach()
        if self.world > 1:
            slopes = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in learnt]
            sums = torch.cat([slope.flatten() for slope in slopes] + [whole.view(1)])
            distributed.all_reduce(sums)
            place = 0
            for weight in learnt:
                weight.grad = sums[place : place + weight.numel()].view_as(weight)
                place += weight.numel()
            whole = sums[-1]
        return whole

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One step of the optimiser with the gradients that `backward` left."""
        self.scaler.step(optimizer)
        self.scaler.update()

    def total(self, value: float) -> float:
        """The sum of every process's value."""
        if self.world == 1:
            return value
        sums = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return sums.item()

    def agree(self, value: bool) -> bool:
        """The first process's answer, in all of them; those that come early wait here."""
        return self.total(float(value and self.is_first)) > 0

    @contextmanager
    def within_memory(self, batch: int, key: str = "train.batch") -> Iterator[None]:
        """Turn a GPU's "out of memory" into a sentence.

        Args:
            batch: rows of a whole batch.
            key: where the recipe says so.

        Raises:
            TrainerError: the GPU's memory was used up.
        """
        try:
            yield
        except torch.OutOfMemoryError as error:
            cure = f"set {key} = {batch // 2}" if batch > 1 else "set a smaller size_px"
            raise TrainerError(
                f"{self.device}: out of memory with {batch} pictures in a batch; {cure} in the recipe"
            ) from error


@contextmanager
def open_machine(env: Mapping[str, str] = os.environ) -> Iterator[Machine]:
    """What this process may train on; under `torchrun`, its part of all that.

    Args:
        env: `TORCHELASTIC_RUN_ID`, `RANK`, `WORLD_SIZE` and `LOCAL_RANK`, as `torchrun` sets them.

    Raises:
        TrainerError: `torchrun` started more processes than there are GPUs.
    """
    rank, world, local = 0, 1, 0
    if "TORCHELASTIC_RUN_ID" in env:
        rank, world, local = (int(env[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    device, half = "cpu", None
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise TrainerError(
                f"torchrun started process {local + 1} on a machine with {torch.cuda.device_count()} GPUs; "
                f"give it --nproc-per-node {torch.cuda.device_count()}, or none with CUDA_VISIBLE_DEVICES="
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    else:
        _keep_memory()
    machine = Machine(device, half, rank, world)
    if world == 1:
        yield machine
        return
    console.quiet = not machine.is_first
    distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    try:
        yield machine
    finally:
        distributed.destroy_process_group()


def _keep_memory() -> None:
    """Have the C library keep what a batch frees, for the next batch.

    glibc returns large blocks to the system at once, and each step pays for them again, page by page: 40 % of the time
    of training on two CPU cores. Other C libraries have other habits and no such switch.
    """
    if platform.libc_ver()[0] == "glibc":
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28)):
            ctypes.CDLL(None).mallopt(option, value)


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""As malloc.h numbers them."""


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient, for their losses are added too."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        sums = own.clone()
        distributed.all_reduce(sums)
        return sums

    @staticmethod
    def backward(_: Any, slope: Tensor) -> Tensor:
        sums = slope.clone()
        distributed.all_reduce(sums)
        return sums


class _SharedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose statistics are those of every process's rows together.

    torch's own, SyncBatchNorm, needs GPUs: nothing that is tested on CPUs would show that it is right.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, of: nn.BatchNorm2d) -> None:
        super().__init__(of.num_features, of.eps, of.momentum)
        self.weight, self.bias = of.weight, of.bias
        for name, buffer in of.named_buffers():
            setattr(self, name, buffer)
        self.act = getattr(of, "act", nn.Identity())  # timm's batch norms hold their activation
        self.train(of.training)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, C, H, W] -> the same."""
        if not self.training:
            return self.act(super().forward(x))  # type: ignore[no-any-return]
        shift = self.running_mean.clone()  # near the mean, and the same everywhere: squares lose fewer digits
        away = x.float() - shift.view(1, -1, 1, 1)
        count = away.new_full((1,), away.numel() / self.num_features)
        sums = _Sum.apply(torch.cat([away.sum((0, 2, 3)), away.square().sum((0, 2, 3)), count]))
        first, second, rows = sums.split([self.num_features, self.num_features, 1])
        mean, rows = first / rows, rows.detach()
        variance = (second / rows - mean.square()).clamp_min(0)
        with torch.no_grad():
            self.running_mean.lerp_(mean + shift, self.momentum)
            self.running_var.lerp_(variance * rows / (rows - 1).clamp_min(1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        made = away * scale.view(1, -1, 1, 1) + (self.bias - mean * scale).view(1, -1, 1, 1)
        return self.act(made.to(x.dtype))  # type: ignore[no-any-return]


def _share_batch_norms(net: nn.Module) -> None:
    """Put a `_SharedBatchNorm` in the place of every batch norm; weights, statistics and names stay."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and not isinstance(child, _SharedBatchNorm):
                setattr(parent, name, _SharedBatchNorm(child))
