import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from tests.unit import tiny
from wetakd.common.errors import UserError
from wetakd.common.user_functions import source_digest
from wetakd.config import ModelConfig
from wetakd.models.cost import InputShape, measure_cost
from wetakd.models.evaluation_mode import evaluating
from wetakd.models.registry import RESNET_DEPTHS, WIDE_DEPTHS, build_model
from wetakd.models.training_check import check_training
from wetakd.training.train_state import state_bytes

COLOUR = InputShape(3, 32, 32)
DIGIT = tiny.SHAPE


def make(name, shape=COLOUR, num_classes=10, seed=0, field="model", **options):
    return build_model(ModelConfig(name=name, options=options), shape, num_classes, seed, field=field)


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("widths", "num_classes", "parameters"),
    [
        ("cifar10", 10, (13_082, 37_338, 82_778, 327_962, 2_487_850)),
        ("cifar100", 100, (215_172, 475_652, 1_107_204, 1_246_276, 2_931_460)),
    ],
)
def test_plain_networks_have_the_published_sizes(widths, num_classes, parameters):
    modules = [make("plain", num_classes=num_classes, depth=depth, widths=widths) for depth in (2, 4, 6, 8, 10)]
    assert tuple(measure_cost(module, COLOUR).parameters for module in modules) == parameters


def test_resnets_have_the_published_sizes():
    expected = dict(
        zip(RESNET_DEPTHS, (78_042, 175_258, 272_474, 369_690, 466_906, 661_338, 855_770, 1_730_714), strict=True)
    )
    assert {depth: num_parameters(make("resnet", depth=depth)) for depth in RESNET_DEPTHS} == expected
    assert num_parameters(make("resnet", depth=8, num_classes=100)) == 78_042 + 5_850


@pytest.mark.parametrize(("depth", "width", "parameters"), [(16, 2, 703_284), (40, 1, 569_780), (40, 2, 2_255_156)])
def test_wide_resnets_have_the_published_sizes(depth, width, parameters):
    assert num_parameters(make("wide_resnet", num_classes=100, depth=depth, width=width)) == parameters


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("plain", {"depth": depth}) for depth in (2, 4, 6, 8, 10)),
        ("plain", {"depth": 10, "widths": "cifar100"}),
        ("resnet", {"depth": 8}),
        ("wide_resnet", {"depth": 10}),
    ],
)
@pytest.mark.parametrize("shape", [DIGIT, InputShape(3, 5, 9), InputShape(3, 40, 28)])
def test_built_ins_read_images_of_any_size(name, options, shape):
    module = make(name, shape, num_classes=7, **options)
    images_BCHW = torch.randn(2, shape.channels, shape.height, shape.width)
    assert module(images_BCHW).shape == (2, 7)


def test_macs_of_a_plain_network_by_hand():
    module = make("plain", depth=2)
    macs = 32 * 32 * 16 * (3 * 9) + 16 * 16 * 16 * (16 * 9) + (8 * 8 * 16) * 10
    num_buffers_bytes = 2 * (16 + 16) * 4 + 2 * 8
    size = measure_cost(module, COLOUR)
    assert (size.macs, size.bytes) == (macs, 13_082 * 4 + num_buffers_bytes)


def test_macs_of_grouped_convolutions():
    class Grouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 6, 3, groups=2, padding=1)

        def forward(self, x):
            return self.conv(x)

    assert measure_cost(Grouped(), InputShape(4, 5, 5)).macs == 5 * 5 * 6 * (2 * 9)


@pytest.mark.parametrize(
    ("name", "options", "depths", "macs"),
    [
        ("plain", {"widths": "cifar10"}, (2, 4, 6, 8, 10), (1_042_432, 6_361_088, 9_889_792, 13_451_904, 71_795_968)),
        (
            "plain",
            {"widths": "cifar100"},
            (2, 4, 6, 8, 10),
            (3_264_512, 24_518_656, 38_715_392, 52_855_424, 72_193_024),
        ),
        (
            "resnet",
            {},
            RESNET_DEPTHS,
            (12_501_632, 26_657_408, 40_813_184, 54_968_960, 69_124_736, 97_436_288, 125_747_840, 253_149_824),
        ),
        ("wide_resnet", {"width": 1}, WIDE_DEPTHS, (12_501_632, 26_657_408, 40_813_184, 54_968_960, 83_280_512)),
        ("wide_resnet", {"width": 2}, WIDE_DEPTHS, (44_483_840, 101_106_944, 157_730_048, 214_353_152, 327_599_360)),
    ],
)
def test_macs_of_built_in_networks_stay_what_they_are(name, options, depths, macs):
    assert tuple(measure_cost(make(name, depth=depth, **options), COLOUR).macs for depth in depths) == macs


def attending(num_classes):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.Sequential(nn.Flatten(1, 2), layer, nn.Flatten(), nn.Linear(64, num_classes))


def frozen_attending(num_classes):
    module = attending(num_classes)
    module[1].requires_grad_(False)
    return module


@pytest.mark.parametrize("name", ["attending", "frozen_attending"])
def test_macs_of_attention(name):
    projections, products, feed_forward = 8 * 8 * 8 * 4, 2 * 2 * (8 * 8 * 4), 2 * (8 * 8 * 16)
    size = measure_cost(make(f"{__name__}:{name}", DIGIT), DIGIT)
    assert size.macs == projections + products + feed_forward + 64 * 10
    assert torch.backends.mha.get_fastpath_enabled()


def test_macs_of_transposed_convolutions():
    module = nn.Sequential(nn.ConvTranspose2d(1, 6, 3, stride=2), nn.Flatten(), nn.Linear(6 * 17 * 17, 2))
    assert measure_cost(module, DIGIT).macs == 8 * 8 * (6 * 9) + 6 * 17 * 17 * 2


@pytest.mark.parametrize("parametrization", [weight_norm, spectral_norm])
def test_macs_of_layers_without_a_plain_weight(parametrization):
    plain = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Flatten(), nn.Linear(6 * 36, 10))
    expected = measure_cost(plain, DIGIT).macs
    for layer in (plain[0], plain[2]):
        parametrization(layer)
    assert measure_cost(plain, DIGIT).macs == expected == 36 * 6 * 9 + 6 * 36 * 10


def test_a_cost_that_cannot_be_counted_is_one_line():
    def uncountable(_, inputs):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise NotImplementedError("no\ndispatch modes")

    module = make("plain", DIGIT, depth=2)
    module.register_forward_pre_hook(uncountable)
    with pytest.raises(UserError, match=r"^student\.model: .* cannot be counted: NotImplementedError: no dispatch"):
        measure_cost(module, DIGIT, field="student.model")


def test_measuring_changes_nothing():
    module = make("resnet", depth=8)
    module.train()
    before = state_bytes(module)
    measure_cost(module, COLOUR)
    assert state_bytes(module) == before
    assert module.training
    assert not any(layer._forward_hooks for layer in module.modules())


def test_initial_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    first = state_bytes(make("plain", depth=4, seed=5))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert state_bytes(make("plain", depth=4, seed=5)) == first
    assert state_bytes(make("plain", depth=4, seed=6)) != first
    assert torch.equal(torch.get_rng_state(), state)


def test_a_layer_frozen_in_evaluation_mode_stays_so():
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
    module[0].eval()
    with evaluating(module):
        assert not any(layer.training for layer in module.modules())
    assert [layer.training for layer in module.modules()] == [True, False, True]


# ------------------------------------------------------------------------------------- callables of the user


def linear(num_classes, in_channels, bias=True):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes, bias=bias))


def lazy(num_classes, **options):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def raising(num_classes):
    raise RuntimeError("no\nsuch luck")


def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))


def two_outputs(num_classes):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, num_classes)

        def forward(self, x):
            return self.linear(x.flatten(1)), None

    return Two()


def nothing_to_train(num_classes):
    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(num_classes))


def no_module():
    return 3


not_callable = 3


def test_a_callable_gets_what_its_signature_takes():
    assert make(f"{__name__}:linear", DIGIT, bias=False)[1].bias is None
    assert make(f"{__name__}:linear", DIGIT)[1].bias is not None
    assert make(f"{__name__}:fixed", DIGIT, num_classes=4)(torch.zeros(2, 1, 8, 8)).shape == (2, 4)


def test_lazy_layers_can_be_trained_after_the_check():
    module = make(f"{__name__}:lazy", DIGIT, anything=1)
    module(torch.ones(2, 1, 8, 8)).sum().backward()
    assert module[1].weight.grad is not None


def test_torchvision_networks():
    module = make("torchvision:squeezenet1_1", InputShape(3, 64, 64), num_classes=6, dropout=0.1)
    assert module.training
    assert module(torch.zeros(2, 3, 64, 64)).shape == (2, 6)


def test_torchvision_networks_with_auxiliary_heads_return_logits_alone():
    module = make("torchvision:googlenet", InputShape(3, 64, 64), num_classes=6)
    assert module(torch.zeros(2, 3, 64, 64)).shape == (2, 6)


@pytest.mark.parametrize(
    ("name", "options", "starts", "holds"),
    [
        ("plane", {}, ".name: ", "'plane'"),
        ("plain", {}, ".options.depth: ", "[2, 4, 6, 8, 10]"),
        ("plain", {"depth": 3}, ".options.depth: 3", "[2, 4, 6, 8, 10]"),
        ("plain", {"depth": 2.0}, ".options.depth: 2.0", "[2, 4, 6, 8, 10]"),
        ("plain", {"depth": [2]}, ".options.depth: [2]", "[2, 4, 6, 8, 10]"),
        ("plain", {"depth": 2, "widths": "mnist"}, ".options.widths: 'mnist'", "cifar100"),
        ("plain", {"depht": 2}, ".options.depht: ", "depth"),
        ("resnet", {"depth": 18}, ".options.depth: 18", "110"),
        ("resnet", {"depth": True}, ".options.depth: True", "110"),
        ("wide_resnet", {"depth": 16, "width": 0}, ".options.width: 0", "16"),
        ("torchvision:resnet19", {}, ".name: ", "'resnet19'"),
        ("torchvision:resnet18", {"weights": "DEFAULT"}, ".options.weights: ", "cannot be set"),
        ("torchvision:resnet18", {"depth": 3}, ": torchvision:resnet18", "depth"),
        ("torchvision:resnet18", {}, ": torchvision:resnet18 cannot read an image of 1x8x8", "channels"),
        ("no.such.module:net", {}, ".name: ", "no.such.module"),
        (f"{__name__}:no_such_name", {}, ".name: ", "'no_such_name'"),
        (f"{__name__}:not_callable", {}, ".name: ", ":not_callable' is int, not a function"),
        (f"{__name__}:no_module", {}, ".name: ", "nn.Module"),
        (f"{__name__}:raising", {}, f": {__name__}:raising", "RuntimeError: no such luck"),
        (f"{__name__}:linear", {"biass": 1}, ".options.biass: ", "['bias']"),
        (f"{__name__}:linear", {"num_classes": 3}, ".options.num_classes: ", "['bias']"),
        (f"{__name__}:fixed", {}, f": {__name__}:fixed returns [1, 4]", "[1, 10]"),
        (f"{__name__}:two_outputs", {}, f": {__name__}:two_outputs returns tuple", "[1, 10]"),
        (f"{__name__}:nothing_to_train", {}, f": {__name__}:nothing_to_train", "no parameter"),
    ],
)
def test_a_mistake_is_one_line_that_begins_with_the_field(name, options, starts, holds):
    field = "assistants.ta8.model"
    with pytest.raises(UserError) as caught:
        build_model(ModelConfig(name=name, options=options), DIGIT, 10, seed=0, field=field)
    message = str(caught.value)
    assert message.startswith(field + starts)
    assert holds in message
    assert "\n" not in message


class Careless(nn.Module):
    """Changes in place what its backward pass needs."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        logits_BC = torch.sigmoid(self.linear(images_BCHW.flatten(1)))
        logits_BC += 1
        return logits_BC


def test_a_backward_pass_that_fails_is_one_line():
    with pytest.raises(UserError, match=r"^teacher\.model: careless cannot be trained, its backward pass"):
        check_training(Careless(10), "careless", DIGIT, 10, field="teacher.model")


def test_source_digest_follows_the_files(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "inner_net.py").write_text("def net(num_classes): ...\n")
    (tmp_path / "outer_net.py").write_text("from inner_net import net\n")

    before = source_digest("outer_net:net")
    assert before == source_digest("outer_net:net")
    for file in ("inner_net.py", "outer_net.py"):
        with (tmp_path / file).open("a") as source:
            source.write("# changed\n")
        before, last = source_digest("outer_net:net"), before
        assert before != last


def test_only_callables_have_a_source():
    assert source_digest("plain") is None
    assert source_digest("torchvision:resnet18") is None
    with pytest.raises(UserError, match=r"^student\.model\.name: 'no_such:net'"):
        source_digest("no_such:net", field="student.model.name")
