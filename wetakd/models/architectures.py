"""The built-in networks: plain CNNs, CIFAR ResNets and wide ResNets, for images of any size.

All of them return logits (float32, batch x classes) and end in global average pooling or, the plain ones, in a linear
layer on the flattened maps.
"""

from __future__ import annotations

from torch import Tensor, nn, relu

# Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant" (arXiv 1902.03393), as their code has it: a
# number is a 3x3 convolution of that width with batch norm and ReLU, M a 2x2 max-pool, H64 a hidden linear layer.
PLAIN = {
    "cifar10": {
        2: "16 M 16 M",
        4: "16 16 M 32 32 M",
        6: "16 16 M 32 32 M 64 64 M",
        8: "16 16 M 32 32 M 64 64 M 128 128 M H64",
        10: "32 32 M 64 64 M 128 128 M 256 256 256 256 M H128",
    },
    "cifar100": {
        2: "32 M 32 M",
        4: "32 32 M 64 64 M",
        6: "32 32 M 64 64 M 128 128",
        8: "32 32 M 64 64 M 128 128 M 256 256 M H64",
        10: "32 32 M 64 64 M 128 128 M 256 256 256 256 M H512",
    },
}


def plain_cnn(spec: str, channels: int, height: int, width: int, num_classes: int) -> nn.Sequential:
    """A plain CNN from a row of `PLAIN`; a max-pool that would leave less than one pixel is left out."""
    layers: list[nn.Module] = []
    hidden: list[int] = []
    for token in spec.split():
        if token == "M":
            if min(height, width) >= 2:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        elif token.startswith("H"):
            hidden.append(int(token[1:]))
        else:
            layers += [nn.Conv2d(channels, int(token), 3, padding=1), nn.BatchNorm2d(int(token)), nn.ReLU()]
            channels = int(token)
    layers.append(nn.Flatten())
    features = channels * height * width
    for size in hidden:
        layers += [nn.Linear(features, size), nn.ReLU()]
        features = size
    return nn.Sequential(*layers, nn.Linear(features, num_classes))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions around which a shortcut leads, a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """CIFAR ResNet of depth 6n + 2 with widths 16, 32, 64 (He et al., arXiv 1512.03385, section 4.2)."""

    def __init__(self, depth: int, channels: int, num_classes: int) -> None:
        super().__init__()
        num_blocks = (depth - 2) // 6
        self.conv1 = _conv3x3(channels, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(
            *(
                _BasicBlock(before if i == 0 else width, width, stride if i == 0 else 1)
                for before, width, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
                for i in range(num_blocks)
            )
        )
        self.head = nn.Linear(64, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images B x channels x height x width to logits B x classes."""
        x = self.blocks(relu(self.bn1(self.conv1(x))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class _WideBlock(nn.Module):
    """Batch norm and ReLU before each convolution; where the shape changes the shortcut leaves after the first pair."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = _conv3x3(channels, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width)
        self.shortcut = nn.Conv2d(channels, width, 1, stride=stride, bias=False) if channels != width else None

    def forward(self, x: Tensor) -> Tensor:
        ready = relu(self.bn1(x))
        out = self.conv2(relu(self.bn2(self.conv1(ready))))
        return out + (x if self.shortcut is None else self.shortcut(ready))  # type: ignore[no-any-return]


class WideResNet(nn.Module):
    """Wide ResNet WRN-depth-width of depth 6n + 4 (Zagoruyko & Komodakis, arXiv 1605.07146)."""

    def __init__(self, depth: int, width: int, channels: int, num_classes: int) -> None:
        super().__init__()
        num_blocks = (depth - 4) // 6
        widths = (16, 16 * width, 32 * width, 64 * width)
        blocks: list[nn.Module] = []
        for stage, stride in enumerate((1, 2, 2)):
            before, after = widths[stage], widths[stage + 1]
            blocks += [_WideBlock(before, after, stride)]
            blocks += [_WideBlock(after, after, 1) for _ in range(num_blocks - 1)]
        self.conv1 = _conv3x3(channels, 16)
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images B x channels x height x width to logits B x classes."""
        x = relu(self.bn(self.blocks(self.conv1(x))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def _conv3x3(channels: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)


def _initialise(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
