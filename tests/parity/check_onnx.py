#!/usr/bin/env python3
"""Runs an ONNX model in other runtimes and compares its logits.

    tests/parity/check_onnx.py MODEL.onnx IO.safetensors [--runtimes onnxruntime,opencv,operators]

IO holds float32 tensors `input` and `logits`. The file must pass onnx.checker where that is installed. Then it is run by
onnxruntime, by OpenCV's dnn module, and by a plain reading of ONNX's operators with PyTorch's (below); a runtime that is
not installed is passed over. Exits 1, saying why, if any logits differ by more than 1e-4 of the largest, and 77 if
nothing could be run at all.
"""
import argparse
import importlib.util
import json
import struct
import sys

import numpy


def load(path):
    with open(path, "rb") as file:
        content = file.read()
    begin = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:begin])
    return {name: numpy.frombuffer(content[begin:], numpy.float32, entry["data_offsets"][1] // 4 -
                                   entry["data_offsets"][0] // 4, entry["data_offsets"][0]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def run_onnxruntime(path, images):
    import onnxruntime
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["logits"], {"images": images})[0]


def run_opencv(path, images):
    import cv2
    network = cv2.dnn.readNetFromONNX(path)
    results = []
    for image in images:  # it does not know batches of no fixed size
        network.setInput(image[None])
        results.append(network.forward())
    return numpy.concatenate(results)


def run_operators(path, images):
    """What the specification of ONNX says of each operator, in PyTorch."""
    import onnx
    import torch
    from onnx import numpy_helper
    from torch.nn import functional as F

    graph = onnx.load(path).graph
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    values["images"], values[""] = torch.from_numpy(images.copy()), None

    def pool(x, a, kernel):
        assert a["pads"][:2] == a["pads"][2:]
        return kernel(x, a["kernel_shape"], a["strides"], a["pads"][:2], ceil_mode=bool(a["ceil_mode"]))

    def take_slice(x, starts, ends, axes, steps):
        for start, end, axis, step in zip(*(v.tolist() for v in (starts, ends, axes, steps))):
            x = x[tuple([slice(None)] * axis + [slice(start, end, step)])]
        return x

    def padded(x, pads, value, a):
        pads, n = pads.tolist(), x.dim()
        pairs = [(pads[i], pads[i + n]) for i in reversed(range(n))]
        return F.pad(x, [side for pair in pairs for side in pair], value=value.item())

    def reshaped(x, shape, a):
        return x.reshape([x.shape[i] if extent == 0 else extent for i, extent in enumerate(shape.tolist())])

    def gemm(a_, b, c, a):
        return a.get("alpha", 1.0) * a_ @ (b.t() if a.get("transB") else b) + a.get("beta", 1.0) * (0 if c is None else c)

    operators = {
        "Identity": lambda x, a: x, "Relu": lambda x, a: x.relu(), "Sigmoid": lambda x, a: x.sigmoid(),
        "Tanh": lambda x, a: x.tanh(), "Exp": lambda x, a: x.exp(), "Erf": lambda x, a: x.erf(),
        "Sqrt": lambda x, a: x.sqrt(), "Neg": lambda x, a: -x, "Abs": lambda x, a: x.abs(),
        "Add": lambda x, y, a: x + y, "Sub": lambda x, y, a: x - y, "Mul": lambda x, y, a: x * y,
        "Div": lambda x, y, a: x / y, "Pow": lambda x, y, a: x ** y, "MatMul": lambda x, y, a: x @ y,
        "Max": lambda x, y, a: torch.maximum(x, y),
        "Clip": lambda x, low, high, a: x.clamp(low, high),
        "HardSigmoid": lambda x, a: (a["alpha"] * x + a["beta"]).clamp(0, 1),
        "Softmax": lambda x, a: x.softmax(a["axis"]),
        "ReduceMean": lambda x, a: x.mean(a["axes"], keepdim=bool(a["keepdims"])),
        "Conv": lambda x, w, *rest: F.conv2d(F.pad(x, [rest[-1]["pads"][i] for i in (1, 3, 0, 2)]), w,
                                             rest[0] if len(rest) > 1 else None, rest[-1]["strides"], 0,
                                             rest[-1]["dilations"], rest[-1]["group"]),
        "BatchNormalization": lambda x, w, b, m, v, a: F.batch_norm(x, m, v, w, b, False, 0, a["epsilon"]),
        "Gemm": lambda x, w, *rest: gemm(x, w, rest[0] if len(rest) > 1 else None, rest[-1]),
        "MaxPool": lambda x, a: pool(x, a, lambda *p, ceil_mode: F.max_pool2d(*p, dilation=a["dilations"], ceil_mode=ceil_mode)),
        "AveragePool": lambda x, a: pool(x, {"pads": [0] * 4, "ceil_mode": 0, **a}, lambda *p, ceil_mode: F.avg_pool2d(
            *p, ceil_mode=ceil_mode, count_include_pad=bool(a.get("count_include_pad", 0)))),
        "GlobalAveragePool": lambda x, a: x.mean((2, 3), keepdim=True),
        "Reshape": reshaped, "Transpose": lambda x, a: x.permute(a["perm"]),
        "Unsqueeze": lambda x, axes, a: x.unsqueeze(axes.item()), "Squeeze": lambda x, axes, a: x.squeeze(axes.item()),
        "Expand": lambda x, shape, a: x * torch.ones(shape.tolist()), "Concat": lambda *x: torch.cat(x[:-1], x[-1]["axis"]),
        "Gather": lambda x, index, a: x.select(a["axis"], index.item()) if index.dim() == 0 else x.index_select(a["axis"], index),
        "Slice": lambda x, b, e, axes, steps, a: take_slice(x, b, e, axes, steps),
        "Split": lambda x, sizes, a: x.split(sizes.tolist(), a["axis"]), "Pad": padded,
        "Shape": lambda x, a: torch.tensor(x.shape)}
    for node in graph.node:
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        result = operators[node.op_type](*(values[name] for name in node.input), attributes)
        values.update(zip(node.output, result if isinstance(result, tuple) else (result,)))
    return values["logits"].numpy()


RUNTIMES = {"onnxruntime": (run_onnxruntime, ["onnxruntime"]), "opencv": (run_opencv, ["cv2"]),
            "operators": (run_operators, ["onnx", "torch"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("io")
    parser.add_argument("--runtimes", default="", help="those to be tried; by default all")
    arguments = parser.parse_args()
    if importlib.util.find_spec("onnx"):
        import onnx
        onnx.checker.check_model(onnx.load(arguments.model), full_check=True)
    io, ran = load(arguments.io), []
    for name in arguments.runtimes.split(",") if arguments.runtimes else RUNTIMES:
        run, modules = RUNTIMES[name]
        if not all(importlib.util.find_spec(module) for module in modules):
            continue
        logits = run(arguments.model, io["input"])
        error = abs(logits - io["logits"]).max() / abs(io["logits"]).max()
        if logits.shape != io["logits"].shape or not error <= 1e-4:
            sys.exit(f"{arguments.model}: in {name} the logits differ by {error:.3g}")
        ran.append(f"{name} {error:.2g}")
    print(f"{arguments.model}: {', '.join(ran) or 'no runtime is installed'}")
    return 0 if ran else 77


if __name__ == "__main__":
    sys.exit(main())
