#!/usr/bin/python3
"""Runs an exported TorchScript program in Python and compares its logits.

    tests/parity/check_torchscript.py PROGRAM.pt IO.safetensors

IO holds `input` and `logits`. Exits 1, saying why, if they differ by more than 1e-4 of the largest, if a smaller batch
gives others, or if the note mcci.json is missing.
"""
import json
import sys

import torch

import safetensors_io


def main():
    program_path, io_path = sys.argv[1:]
    notes = {"mcci.json": ""}
    program = torch.jit.load(program_path, _extra_files=notes)
    io = safetensors_io.load(io_path)
    classes = json.loads(notes["mcci.json"])["classes"]
    if len(classes) != io["logits"].shape[1]:
        sys.exit(f"{program_path}: the note has {len(classes)} classes")
    for count in (len(io["input"]), 1):
        with torch.no_grad():
            logits = program(io["input"][:count])
        error = ((logits - io["logits"][:count]).abs().max() / io["logits"].abs().max()).item()
        if not error <= 1e-4:
            sys.exit(f"{program_path}: the logits of {count} images differ by {error:.3g}")
    print(f"{program_path}: the logits differ by {error:.2g}")


if __name__ == "__main__":
    main()
