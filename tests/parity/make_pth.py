#!/usr/bin/python3
"""Writes tests/fixtures/pth/: files as Python's torch.save makes them, for mcci/state/pth.hpp to read or to refuse.

    tests/parity/make_pth.py

Needs Debian's python3-torch and python3-numpy. One file per function; expected.safetensors holds the tensors of
state_dict.pth and checkpoint.pth, protocol5.pth and one.pth hold some of them.
"""
import argparse
import collections
import os
import pathlib

import numpy
import torch
from torch import nn

import safetensors_io

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "pth"


def tensors():
    """Every dtype; views with strides and offsets that share a storage; nothing, a scalar, a parameter."""
    torch.manual_seed(2025)
    base = torch.arange(24, dtype=torch.float32)
    result = collections.OrderedDict()
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        result["dtype." + str(dtype)[6:]] = torch.randn(2, 3).to(dtype)
    for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
        result["dtype." + str(dtype)[6:]] = torch.tensor([0, 1, 100]).to(dtype)
    result["rows"] = base[4:12].view(2, 4)
    result["transposed"] = base.view(4, 6).t()
    result["channels_last"] = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    result["scalar"] = torch.tensor(7)
    result["empty"] = torch.zeros(0, 5)
    result["parameter"] = nn.Parameter(torch.randn(3))
    return result


def state_dict():
    state = tensors()
    state._metadata = collections.OrderedDict([("", {"version": 2})])
    return state


def checkpoint():
    """As training programs write them, with everything that does not belong to the weights."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "best": numpy.float64(0.93), "count": numpy.int64(12), "done": True, "rate": 0.5, "note": None,
            "device": torch.device("cpu"), "size": torch.Size([2, 3]), "dtype": torch.float32, "names": {"a", "b"},
            "curve": numpy.arange(5.0), "raw": b"\x00\xff", "big": 1 << 80, "negative": -300, "wide": 1 << 40,
            "by_class": collections.defaultdict(list, {1: [2]}),
            "args": argparse.Namespace(lr=0.1, arch="resnet8", milestones=[1, 2], out=pathlib.PurePosixPath("/x").name),
            "optimizer": optimizer.state_dict(), "state_dict": tensors()}


def one():
    """A dict of one item is written with another opcode than one of several."""
    return {"only": torch.tensor([1.0, 2.0])}


def several():
    return {"generator": {"a": torch.zeros(1)}, "discriminator": {"a": torch.zeros(1)}}


def expanded():
    return {"a": torch.zeros(1).expand(1000)}


def complex_numbers():
    return {"a": torch.zeros(2, dtype=torch.complex64)}


def module():
    return nn.Linear(2, 2)


class Command:
    def __reduce__(self):
        return os.system, ("touch /tmp/mcci-was-here",)


def command():
    return {"a": torch.zeros(2), "b": Command()}


def nothing():
    return {"epoch": 3}


def single():
    return torch.zeros(2)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for make in (state_dict, checkpoint, one, several, expanded, complex_numbers, module, command, nothing, single):
        torch.save(make(), FOLDER / f"{make.__name__}.pth")
    torch.save(tensors(), FOLDER / "protocol5.pth", pickle_protocol=5)
    torch.save(one(), FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.jit.script(nn.ReLU()).save(str(FOLDER / "program.pth"))
    safetensors_io.save(FOLDER / "expected.safetensors", {name: tensor.detach() for name, tensor in tensors().items()})


if __name__ == "__main__":
    main()
