#!/usr/bin/env python3
"""A smaller data set from one in IDX files (MNIST, Fashion-MNIST), for grids on few cores.

usage: idx_subset.py SOURCE OUT --train N --clean M

OUT/set gets the first N training images and the test images, OUT/clean the M training images that follow: for defenses
that are given images known to be clean. The names of the classes are lost: IDX has none.
"""
import argparse
import gzip
import pathlib
import shutil
import struct


def read(path):
    with gzip.open(path, "rb") as file:
        content = file.read()
    dimensions = content[3]
    sizes = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return content[:4], sizes, content[4 + 4 * dimensions :]


def write_part(source, target, first, count):
    magic, sizes, values = read(source)
    if first + count > sizes[0]:
        raise SystemExit(f"{source} has only {sizes[0]} samples, not {first + count}")
    each = len(values) // sizes[0]
    target.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(target, "wb", mtime=0) as file:
        file.write(magic + struct.pack(f">{len(sizes)}I", count, *sizes[1:]))
        file.write(values[first * each : (first + count) * each])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--train", type=int, required=True, help="training images")
    parser.add_argument("--clean", type=int, required=True, help="images of OUT/clean")
    arguments = parser.parse_args()
    for kind in ("images-idx3", "labels-idx1"):
        train = f"train-{kind}-ubyte.gz"
        write_part(arguments.source / train, arguments.out / "set" / train, 0, arguments.train)
        write_part(arguments.source / train, arguments.out / "clean" / train, arguments.train, arguments.clean)
        test = f"t10k-{kind}-ubyte.gz"
        shutil.copyfile(arguments.source / test, arguments.out / "set" / test)


main()
