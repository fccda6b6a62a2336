#!/usr/bin/env python3
"""Copies the first images, or some behind them, of a data set of IDX files, for runs that the whole set is too large for.

    scripts/subset_idx.py FROM TO --train 8000 --test 2000 [--skip 10000]

FROM holds train-images-idx3-ubyte.gz and the other three files of MNIST's layout; TO gets the same names. The sets of
this layout are in random order, so that the first images are as good as any. --skip leaves out so many training images first.
"""
import argparse
import gzip
import pathlib
import struct
import sys


def part(path, first, count):
    """`count` of the file's items, from `first`, under a header that says so."""
    data = gzip.decompress(path.read_bytes())
    dimensions = data[3]
    sizes = struct.unpack_from(f">{dimensions}I", data, 4)
    if not (first >= 0 and 0 < count <= sizes[0] - first):
        raise ValueError(f"{path} has {sizes[0]} items, so {count} from {first} cannot be taken")
    item = 1
    for size in sizes[1:]:
        item *= size
    start = 4 + 4 * dimensions + first * item
    return data[:4] + struct.pack(f">{dimensions}I", count, *sizes[1:]) + data[start:start + count * item]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument("--train", type=int, required=True)
    parser.add_argument("--test", type=int, required=True)
    parser.add_argument("--skip", type=int, default=0)
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True, exist_ok=True)
    for split, first, count in (("train", arguments.skip, arguments.train), ("t10k", 0, arguments.test)):
        for kind in ("images-idx3", "labels-idx1"):
            name = f"{split}-{kind}-ubyte.gz"
            # No time stamp: the same images are the same bytes.
            (arguments.target / name).write_bytes(gzip.compress(part(arguments.source / name, first, count), mtime=0))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, IndexError, struct.error) as reason:
        sys.exit(f"subset_idx: {reason}")
