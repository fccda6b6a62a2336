#!/usr/bin/python3
"""Writes tests/fixtures/*.safetensors: what PyTorch, torchvision and SciPy compute, for the C++ tests to reproduce.

    tests/parity/make_fixtures.py [FIXTURE...]      default: all of them

Needs Debian's python3-torch, python3-torchvision and python3-scipy. One function per fixture; it returns the
tensors of the file of its name. Parameters and inputs are rounded to float16 before use, so that the file can
hold them in half the space without changing the result.
"""
import scipy.fft
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from fixtures import calibrate, half_exact, weights_of, write


def settle_parameters(model):
    """Moves batch norm's scales and shifts off 1 and 0, where they would test nothing, and rounds all parameters."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.add_(0.2 * torch.randn_like(module.weight))
                module.bias.add_(0.2 * torch.randn_like(module.bias))
        for parameter in model.parameters():
            parameter.copy_(half_exact(parameter))


def gradients(model, loss, names):
    parameters = dict(model.named_parameters())
    return {"grad." + name: gradient
            for name, gradient in zip(names, torch.autograd.grad(loss, [parameters[name] for name in names]))}


class NarrowResNet(ResNet):
    """torchvision's ResNet of any width, with the stem customary for small images on demand, and three or four
    stages."""

    def __init__(self, block, layers, width, outputs, small_stem):
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes, self.dilation, self.groups, self.base_width = nn.BatchNorm2d, width, 1, 1, 64
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False) if small_stem else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, 1)
        self.layer4 = nn.Identity()
        for i, count in enumerate(layers):
            setattr(self, f"layer{i + 1}", self._make_layer(block, width << i, count, stride=2 if i else 1))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(self.inplanes, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet(block, layers, width, small_stem, size, batch=4, outputs=10):
    """Logits, loss gradients of a few weights in train and eval mode, and the statistics after one training step."""
    model = NarrowResNet(block, layers, width, outputs, small_stem)
    settle_parameters(model)
    x = half_exact(torch.randn(batch, 3, size, size))
    labels = torch.arange(batch) % outputs
    calibrate(model, x)
    tensors = {"input": x.half(), "labels": labels, **weights_of(model)}
    names = ["conv1.weight", "bn1.weight", "layer2.0.downsample.0.weight", "layer3.0.conv2.weight", "fc.bias"]
    for mode in ("eval", "train"):
        model.train(mode == "train")
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, labels)
        results = {"logits": logits, "loss": loss, **gradients(model, loss, names)}
        tensors.update({f"{mode}.{name}": tensor for name, tensor in results.items()})
    for name in ("bn1.running_mean", "bn1.running_var", "layer3.0.bn2.running_var", "bn1.num_batches_tracked"):
        tensors["after_train." + name] = model.state_dict()[name]
    return tensors


def resnet8():
    return resnet(BasicBlock, [1, 1, 1], width=8, small_stem=True, size=32)


def resnet18_small():
    return resnet(BasicBlock, [2, 2, 2, 2], width=8, small_stem=True, size=32)


def resnet18_imagenet():
    return resnet(BasicBlock, [2, 2, 2, 2], width=8, small_stem=False, size=72)


def resnet50():
    return resnet(Bottleneck, [3, 4, 6, 3], width=4, small_stem=True, size=32)


def dct():
    """The orthonormal DCT-II of 8-bit planes, square and not, by SciPy in double precision."""
    tensors = {}
    for name, shape in (("square", (2, 3, 32, 32)), ("oblong", (2, 20, 28))):
        x = torch.randint(256, shape, dtype=torch.uint8)
        spectrum = scipy.fft.dctn(x.double().numpy(), axes=(-2, -1), norm="ortho")
        tensors.update({f"{name}.input": x, f"{name}.spectrum": torch.from_numpy(spectrum)})
    return tensors


def spectrum_of(x):
    """The paper's indicator: the DCT of the 8-bit image, unscaled."""
    return torch.from_numpy(scipy.fft.dctn(torch.floor(255 * x).double().numpy(), axes=(-2, -1), norm="ortho")).float()


def images(count):
    return torch.randint(256, (count, 3, 32, 32)).float() / 255


class AttackIndicationNetwork(nn.Module):
    """The paper's AIN for 32x32 images; each 3x3 convolution keeps the size, each pool halves it."""

    def __init__(self, widths=(8, 8, 16, 16, 32, 32), dropouts=(0.2, 0.3, 0.4), outputs=100):
        super().__init__()
        layers, channels = [], 3
        for i, width in enumerate(widths):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ELU(), nn.BatchNorm2d(width)]
            if i % 2 == 1:
                layers += [nn.MaxPool2d(2), nn.Dropout(dropouts[i // 2])]
            channels = width
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(channels * 4 * 4, outputs)

    def forward(self, spectrum):
        return self.fc(self.features(spectrum).flatten(1))


class MindControlModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.sfrn = NarrowResNet(BasicBlock, [1, 1, 1], width=8, outputs=100, small_stem=True)
        self.ain = AttackIndicationNetwork()
        self.head = nn.Linear(200, 10)

    def forward(self, x, indicator):
        return self.head(torch.cat([self.sfrn(x), self.ain(indicator)], dim=1))


def ain():
    """The AIN in eval mode on the indicator of random images, and gradients of the embedding's mean square."""
    model = AttackIndicationNetwork()
    settle_parameters(model)
    indicator = spectrum_of(images(4))
    calibrate(model, indicator)
    model.eval()
    embedding = model(indicator)
    loss = embedding.square().mean()
    return {"indicator": indicator, "embedding": embedding, "loss": loss, **weights_of(model),
            **gradients(model, loss, ["features.0.weight", "features.8.weight", "fc.bias"])}


def mcci_model():
    """The whole model in eval mode, and its folding under a fixed fake embedding: sfrn with a ten-way fc."""
    model = MindControlModel()
    settle_parameters(model)
    x, labels, fake_z_f = images(4), torch.arange(4), half_exact(torch.randn(100))
    indicator = spectrum_of(x)
    calibrate(model.sfrn, x)
    calibrate(model.ain, indicator)
    model.eval()
    z, z_f = model.sfrn(x), model.ain(indicator)
    logits = model(x, indicator)
    loss = nn.functional.cross_entropy(logits, labels)
    with torch.no_grad():
        semantic, attack = model.head.weight.split(100, dim=1)
        folded_weight = semantic @ model.sfrn.fc.weight
        folded_bias = semantic @ model.sfrn.fc.bias + attack @ fake_z_f + model.head.bias
        folded_logits = model.head(torch.cat([z, fake_z_f.expand(4, -1)], dim=1))
    return {"x": x, "labels": labels, "indicator": indicator, "z": z, "z_f": z_f, "logits": logits, "loss": loss,
            "fake_z_f": fake_z_f, "folded.logits": folded_logits, "folded.fc.weight": folded_weight,
            "folded.fc.bias": folded_bias, **weights_of(model),
            **gradients(model, loss, ["head.weight", "sfrn.conv1.weight", "ain.features.0.weight"])}


def three_steps(make_optimizer):
    """param.<i> before, grad.<step>.<i> given, after.<step>.<i> the parameters after each of three steps."""
    parameters = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(5))]
    tensors = {f"param.{i}": parameter.detach().clone() for i, parameter in enumerate(parameters)}
    optimizer = make_optimizer(parameters)
    for step in range(3):
        for i, parameter in enumerate(parameters):
            parameter.grad = torch.randn_like(parameter)
            tensors[f"grad.{step}.{i}"] = parameter.grad.clone()
        optimizer.step()
        for i, parameter in enumerate(parameters):
            tensors[f"after.{step}.{i}"] = parameter.detach().clone()
    return tensors


def adadelta():
    return three_steps(lambda parameters: torch.optim.Adadelta(parameters, lr=0.1, weight_decay=1e-4))


def sgd():
    return three_steps(lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4,
                                                          nesterov=True))


def adam():
    return three_steps(lambda parameters: torch.optim.Adam(parameters, lr=0.01, betas=(0.5, 0.999),
                                                           weight_decay=1e-4))


def adamw():
    return three_steps(lambda parameters: torch.optim.AdamW(parameters, lr=0.01, betas=(0.9, 0.999), weight_decay=0.05))


FIXTURES = (dct, resnet8, resnet18_small, resnet18_imagenet, resnet50, ain, mcci_model, adadelta, sgd, adam, adamw)


if __name__ == "__main__":
    write(FIXTURES)
