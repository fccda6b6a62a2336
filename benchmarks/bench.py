#!/usr/bin/env python3
"""Measures speed side by side and writes docs/results/performance.json and the tables of docs/performance.md.

    bench.py --program build/release/benchmarks/mcci_bench --tool build/release/mcci/cli/mcci [--rounds N] [GROUP ...]
    bench.py --pages        only writes the page, from the JSON file

All contenders live at once and are asked in turn, round after round, so that what disturbs one disturbs all. A
figure is the median over the rounds; a ratio is taken within a round first. What is measured, against what, and
what is asked of it is ENTRIES.
"""

import argparse
import datetime
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "benchmarks/reference/reference.py"
PYTHON = "/usr/bin/python3"  # the one that Debian's python3-torch belongs to
RESULT = ROOT / "docs/results/performance.json"
PAGE = ROOT / "docs/performance.md"


# --- the contenders ---


class Server:
    """A program that measures what a line names and answers with a line of JSON."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"bench: no answer to '{line}' from {self.process.args[0]}")
        return json.loads(answer)

    def measure(self, line):
        return self.ask(line)["value"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class CommandLine:
    """The tool as its users start it: 'seconds COMMAND', or 'mebibytes COMMAND' at the peak of its latest run."""

    def __init__(self, tool):
        self.folder = tempfile.TemporaryDirectory(prefix="mcci-bench-")
        self.tool = tool
        path = Path(self.folder.name)
        pixels = random.Random(0)
        for i in range(512):
            image = path / "images" / f"class{i % 2}" / f"{i}.ppm"
            image.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(b"P6 32 32 255\n" + pixels.randbytes(3 * 32 * 32))
        self.one = path / "images/class0/0.ppm"
        self.run = path / "run"
        self.all = path / "images"
        self.pid = os.getpid()
        self.call("train", "--data", self.all, "--image-size", "32", "--defense", "mcci", "--preset", "paper",
                  "--backbone", "resnet18", "--epochs", "1", "--out", self.run)
        self.latest = {}
        self.commands = {
            "start": [tool, "--version"],
            "predict 1": [tool, "predict", self.run, self.one],
            "predict 512": [tool, "predict", self.run, self.all],
            "import torch": [PYTHON, "-c", "import torch"],
        }

    def call(self, *arguments):
        subprocess.run([self.tool, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def measure(self, line):
        unit, command = line.split(" ", 1)
        if unit == "seconds":
            self.start(command)
        return self.latest[command][unit]

    def start(self, command):
        start = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, self.commands[command])), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status != 0:
            raise SystemExit(f"bench: {command} failed")
        self.latest[command] = {"seconds": seconds, "mebibytes": usage.ru_maxrss / 1024}

    def close(self):
        self.folder.cleanup()


class Trainings:
    """Whole runs of `mcci train` on a part of Fashion-MNIST with BadNets: 'seconds NAME' trains anew and measures that;
    'ca NAME', 'asr NAME' and 'pa NAME' are what the model is worth, in percent, 'epochs NAME' how many its backbone had, 'epoch
    NAME' the seconds of one of these, as the latest training took. The long run, `small paper`, is never asked for its seconds:
    it is made once, in build/bench; stopped, it goes on."""

    FOLDER = ROOT / "build/bench"
    LARGE = ["--backbone", "resnet8", "--width", "16"]
    SMALL = ["--backbone", "resnet8", "--width", "8"]
    RUNS = {  # images, and how they are trained on
        "large none": (60000, ["--defense", "none", *LARGE]),
        "large robust": (60000, ["--defense", "mcci", *LARGE]),
        "small robust": (10000, ["--defense", "mcci", *SMALL, "--batch-size", "32"]),
        "small paper": (10000, ["--defense", "mcci", *SMALL, "--preset", "paper"]),
    }
    SIDES = {60000: 28, 10000: 16}
    OF_BACKBONE = ("training", "conditioned", "joint")

    def __init__(self, tool):
        self.tool = tool
        self.pid = os.getpid()
        self.folder = tempfile.TemporaryDirectory(prefix="mcci-bench-")
        for images, side in self.SIDES.items():
            part, poisoned = self.part(images), self.poisoned(images)
            if not part.exists():
                subprocess.run([ROOT / "scripts/subset_idx.py", "/usr/share/datasets/fashion-mnist", part,
                                "--train", str(images), "--test", "10000"], check=True)
            if not poisoned.exists():
                self.call("poison", "--data", part, "--image-size", side, "--attack", "badnets", "--rate", 0.1,
                          "--out", poisoned)

    def part(self, images):
        return self.FOLDER / f"fashion-mnist-{images}"

    def poisoned(self, images):
        return self.FOLDER / f"poisoned-{images}"

    def run_of(self, name):
        return self.FOLDER / "paper" if name == "small paper" else Path(self.folder.name) / name.replace(" ", "-")

    def call(self, *arguments):
        subprocess.run([self.tool, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def train(self, name, resume=()):
        images, options = self.RUNS[name]
        self.call("train", "--data", self.poisoned(images) / "dataset", "--out", self.run_of(name), *options, "--seed", 1,
                  *resume)

    def measure(self, line):
        figure, name = line.split(" ", 1)
        run = self.run_of(name)
        if figure == "seconds":
            shutil.rmtree(run, ignore_errors=True)
            start = time.perf_counter()
            self.train(name)
            return time.perf_counter() - start
        if not (run / "result.json").exists():
            self.train(name, ["--resume"])
        cell = self.cell(run)
        if figure == "epoch":
            return statistics.median(epoch["seconds"] for epoch in cell["history"] if epoch["phase"] in self.OF_BACKBONE)
        if figure == "epochs":
            return sum(epoch["phase"] in self.OF_BACKBONE for epoch in cell["history"])
        if cell.get("ca") is None:
            images = self.RUNS[name][0]
            self.call("eval", run, "--test", self.part(images), "--manifest", self.poisoned(images) / "truth/manifest.json")
        return self.cell(run)[figure]

    @staticmethod
    def cell(run):
        return json.loads((run / "result.json").read_text(encoding="utf-8"))["cells"][0]

    def commands(self):
        return {name: f"mcci train on {images} images: {' '.join(options)} --seed 1"
                for name, (images, options) in self.RUNS.items()}

    def close(self):
        self.folder.cleanup()


def contenders(arguments):
    cores = str(len(os.sched_getaffinity(0)))
    seconds = str(arguments.seconds)
    return {
        "mcci": lambda: Server(arguments.program, seconds),
        "shipped": lambda: Server(PYTHON, REFERENCE, "--seconds", seconds),
        "threads": lambda: Server(PYTHON, REFERENCE, "--seconds", seconds, "--threads", cores),
        "tool": lambda: CommandLine(arguments.tool),
        "trainings": lambda: Trainings(arguments.tool),
    }


# --- what is measured ---


class Entry:
    """value, baseline and ratio are functions of m(contender, line), the measurements of one round."""

    def __init__(self, group, name, unit, value=None, against=None, baseline=None, ratio=None, goal=None):
        self.group, self.name, self.unit, self.against, self.goal = group, name, unit, against, goal
        self.value, self.baseline = value, baseline
        self.ratio = ratio or (lambda value, baseline: value / baseline)


def at_least(limit):
    return {"at least": limit}


def at_most(limit):
    return {"at most": limit}


def by_time(value, baseline):
    """Of two speeds, the times' ratio: what an overhead is."""
    return baseline / value


def step(defense, precision, width):
    return lambda m: m("mcci", f"train {defense} {precision} {width}")


def flops(defense, precision, width):
    """Achieved in the convolutions of a whole step, whose batch is 128."""
    return lambda m: step(defense, precision, width)(m) * m("mcci", f"operations {defense} {width}") / 128 / 1e9


def asked(contender, line):
    return lambda m: m(contender, line)


def percent(function):
    return lambda m: 100 * function(m)


def training_entries(width):
    what = f"width {width}"
    limit = lambda m: m("mcci", "limit auto") / 1e9
    return [
        Entry("training", f"MCCI step, {what}", "images/s", step("mcci", "auto", width),
              "reference program as shipped", asked("shipped", f"train {width}"), goal=at_least(4.5)),
        Entry("training", f"MCCI step, {what}, equal threads", "images/s", step("mcci", "auto", width),
              "reference program, as many threads", asked("threads", f"train {width}"), goal=at_least(2.5)),
        Entry("training", f"MCCI step in fp32, {what}, equal threads", "images/s", step("mcci", "fp32", width),
              "reference program, as many threads", asked("threads", f"train {width}"), goal=at_least(1.5)),
        Entry("training", f"convolutions of the MCCI step, {what}", "GFLOP/s", flops("mcci", "auto", width),
              "best single convolution", limit, goal=at_least(0.75) if width == 64 else None),
        Entry("training", f"time of the MCCI step in convolutions, {what}", "%",
              percent(asked("mcci", f"convolutions mcci {width}"))),
        Entry("training", f"overhead of the defense, {what}", "images/s", step("mcci", "auto", width),
              "plain step (ratio of times)", step("plain", "auto", width), by_time, at_most(1.10)),
    ]


def spectrum_entries(size):
    mcci = asked("mcci", f"spectrum {size}")
    return [
        Entry("spectrum", f"{size}x{size}", "images/s", mcci, "SciPy for each image and channel",
              asked("threads", f"spectrum {size} loop"), goal=at_least(1)),
        Entry("spectrum", f"{size}x{size}, all at once", "images/s", mcci, "SciPy on the batch, as many threads",
              asked("threads", f"spectrum {size} batch"), goal=at_least(1)),
    ]


def share_of_step(width):
    return Entry("spectrum", f"share of the MCCI step, 32x32, width {width}", "%",
                 lambda m: 100 * step("mcci", "auto", width)(m) / m("mcci", "spectrum 32"), goal=at_most(2))


def prediction_entries(batch):
    return [
        Entry("inference", f"library call, width 64, batch {batch}", "images/s",
              asked("mcci", f"predict folded 64 {batch}"), "PyTorch, fp32, as many threads",
              asked("threads", f"predict 64 {batch}")),
        Entry("inference", f"folded model, width 64, batch {batch}", "images/s",
              asked("mcci", f"predict folded 64 {batch}"), "plain model (ratio of times)",
              asked("mcci", f"predict plain 64 {batch}"), by_time, at_most(1.05)),
    ]


def defense_entries():
    small = "resnet8-w8, 10,000 images of 16x16"
    images = 100 * 10000  # of the paper's schedule
    trained = lambda what: asked("trainings", f"{what} small robust")
    by_paper = lambda what: asked("trainings", f"{what} small paper")
    entries = [
        Entry("defense", "robust training over plain training, resnet8-w16, all 60,000 images", "s",
              asked("trainings", "seconds large robust"), "by the same recipe, without a defense",
              asked("trainings", "seconds large none"), goal=at_most(1.5)),
        Entry("defense", "robust epoch over plain epoch, the same", "s", asked("trainings", "epoch large robust"),
              "of the same trainings", asked("trainings", "epoch large none"), goal=at_most(1.5)),
        Entry("defense", f"time to a clean model, {small}", "s", trained("seconds"),
              "reference program's speed, 100 epochs of 10,000 images", lambda m: images / m("threads", "small 8"),
              by_time, at_least(25)),
        Entry("defense", f"epochs of its backbone to a clean model, {small}", "epochs", trained("epochs"), "preset `paper`",
              by_paper("epochs"), by_time, at_least(10)),
    ]
    for figure, goal in (("ca", at_least(1)), ("asr", at_most(1)), ("pa", at_least(1))):
        entries.append(Entry("defense", f"{figure.upper()} of that clean model", "%", trained(figure), "preset `paper`, 100 epochs",
                             by_paper(figure), lambda value, baseline: value / max(baseline, 0.01), goal))
    return entries


ENTRIES = [
    *training_entries(64),
    *training_entries(16),
    Entry("training", "MCCI step on a CUDA device, width 64", "images/s"),
    *spectrum_entries(32),
    *spectrum_entries(64),
    *spectrum_entries(224),
    share_of_step(64),
    share_of_step(16),
    Entry("data", "JPEG 500x375 to batches of 224x224, one worker", "images/s", asked("mcci", "load 224 1"),
          "libjpeg-turbo alone, one thread", asked("mcci", "decode"), goal=at_least(0.9)),
    Entry("data", "JPEG 500x375 to batches of 32x32, one worker", "images/s", asked("mcci", "load 32 1"),
          "libjpeg-turbo alone, one thread", asked("mcci", "decode"), goal=at_least(0.9)),
    Entry("data", "time that training waits, images in memory, width 16", "%",
          percent(asked("mcci", "wait memory 16")), goal=at_most(2)),
    Entry("data", "time that training waits, JPEG 500x375 to 32x32, width 16", "%",
          percent(asked("mcci", "wait jpeg 16")), goal=at_most(2)),
    *defense_entries(),
    *prediction_entries(1),
    *prediction_entries(256),
    Entry("inference", "start of mcci", "s", asked("tool", "seconds start"), "python3 -c 'import torch'",
          asked("tool", "seconds import torch")),
    Entry("inference", "mcci predict, one image", "s", asked("tool", "seconds predict 1")),
    Entry("inference", "mcci predict, 512 images, start included", "images/s",
          lambda m: 512 / m("tool", "seconds predict 512")),
    Entry("inference", "memory of mcci predict, one image", "MiB", asked("tool", "mebibytes predict 1"),
          "python3 -c 'import torch'", asked("tool", "mebibytes import torch")),
    Entry("inference", "memory of mcci predict, 512 images", "MiB", asked("tool", "mebibytes predict 512")),
]
GROUPS = list(dict.fromkeys(entry.group for entry in ENTRIES))


# --- measuring ---


class Requests:
    """Stands for the measurements of a round and takes down what is asked for."""

    def __init__(self):
        self.lines = {}

    def __call__(self, contender, line):
        self.lines[contender, line] = None
        return 1.0


def requests_of(entries):
    requests = Requests()
    for entry in entries:
        for function in (entry.value, entry.baseline):
            if function:
                function(requests)
    return list(requests.lines)


def busy_ticks():
    """Of the machine, and of this process and all below it."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system = map(int, stat.readline().split()[1:4])
    return user + nice + system


def ticks_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15]))  # user and system, own and of ended children


def measure(entries, servers, rounds):
    """The rounds' measurements by (contender, line), and the share of the machine that others took at worst."""
    requests = requests_of(entries)
    for contender, line in requests:
        if contender != "trainings":  # which take minutes
            servers[contender].measure(line)  # warm-up
    taken = []
    foreign = 0.0
    for number in range(rounds):
        print(f"bench: round {number + 1} of {rounds}", file=sys.stderr)
        measured = {}
        for contender, line in requests:
            server = servers[contender]
            all_before, own_before, start = busy_ticks(), ticks_of(server.pid), time.perf_counter()
            measured[contender, line] = server.measure(line)
            ticks = os.sysconf("SC_CLK_TCK") * os.cpu_count() * (time.perf_counter() - start)
            others = (busy_ticks() - all_before) - (ticks_of(server.pid) - own_before)
            if ticks > 50:  # below, the counters' grain is all one sees
                foreign = max(foreign, others / ticks)
        taken.append(measured)
    return taken, foreign


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def filled(entry, taken):
    """The entry as it is written: nulls where nothing was measured."""
    written = {"group": entry.group, "name": entry.name, "value": None, "unit": entry.unit,
               "against": entry.against, "baseline": None, "ratio": None, "goal": entry.goal, "met": None}
    if not entry.value or taken is None:
        return written
    in_round = [lambda contender, line, measured=measured: measured[contender, line] for measured in taken]
    values = [entry.value(m) for m in in_round]
    written["value"] = spread(values)
    judged = written["value"]["median"]
    if entry.baseline:
        baselines = [entry.baseline(m) for m in in_round]
        written["baseline"] = spread(baselines)
        written["ratio"] = spread([entry.ratio(v, b) for v, b in zip(values, baselines)])
        judged = written["ratio"]["median"]
    if entry.goal:
        (direction, limit), = entry.goal.items()
        written["met"] = judged >= limit if direction == "at least" else judged <= limit
    return written


def versions_of_reference():
    script = "import scipy, torch; print(torch.__version__, scipy.__version__)"
    torch, scipy = subprocess.check_output([PYTHON, "-c", script], text=True).split()
    return {"torch": torch, "scipy": scipy, "python": platform.python_version()}


def run(groups, arguments):
    start = contenders(arguments)
    earlier = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"runs": {}, "entries": []}
    runs = earlier["runs"]
    kept = {(entry["group"], entry["name"]): entry for entry in earlier["entries"]}
    for group in groups:
        entries = [entry for entry in ENTRIES if entry.group == group]
        print(f"bench: {group}", file=sys.stderr)
        names = dict.fromkeys(["mcci", *(contender for contender, _ in requests_of(entries))])
        servers = {name: start[name]() for name in names}
        environment = servers["mcci"].ask("environment")
        taken, foreign = measure(entries, servers, arguments.rounds)
        commands = servers["trainings"].commands() if "trainings" in servers else {}
        for server in servers.values():
            server.close()
        runs[group] = {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "command": " ".join(["./dev bench", "--rounds", str(arguments.rounds), *arguments.groups]),
            "rounds": arguments.rounds,
            "cores": len(os.sched_getaffinity(0)),
            "taken by other programs, at most": round(foreign, 3),
            "environment": environment,
            "reference": versions_of_reference(),
            **({"trainings": commands} if commands else {}),
        }
        for entry in entries:
            if entry.value:  # what this command does not measure may have been measured elsewhere
                kept[entry.group, entry.name] = filled(entry, taken)
    written = [kept.get((entry.group, entry.name)) or filled(entry, None) for entry in ENTRIES]
    save({"schema": "mcci.performance/1", "runs": runs, "entries": written})


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return value


def save(result):
    entries = ",\n".join("  " + json.dumps(rounded(entry)) for entry in result["entries"])
    head = json.dumps({"schema": result["schema"], "runs": result["runs"]}, indent=1)[:-2]
    RESULT.write_text(head + ',\n "entries": [\n' + entries + "\n ]\n}\n", encoding="utf-8")


# --- the page ---


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def with_spread(values, form=number):
    if values is None:
        return "–"
    return f"{form(values['median'])}<br><sub>{form(values['least'])} .. {form(values['most'])}</sub>"


def row(entry):
    if entry["value"] is None:
        verdict = "not measured yet"
    elif entry["met"] is None:
        verdict = ""
    else:
        verdict = "met" if entry["met"] else "**not met**"
    goal = ""
    if entry["goal"]:
        (direction, limit), = entry["goal"].items()
        judged = entry["ratio"] or entry["value"]
        if judged and judged["least"] < limit < judged["most"]:
            verdict += ", within the spread"
        goal = f"{'≥' if direction == 'at least' else '≤'} {limit:g}"
    unit = entry["unit"] if entry["value"] else ""
    value = f"{with_spread(entry['value'])} {unit}".strip()
    against = entry["against"] or ""
    if entry["baseline"]:
        against += f": {number(entry['baseline']['median'])}"
    ratio = with_spread(entry["ratio"], lambda r: f"{r:.2f}")
    return f"| {entry['name']} | {value} | {against} | {ratio} | {goal} | {verdict} |"


def tables(result):
    for group in GROUPS:
        yield f"## {group.capitalize()}\n"
        done = result["runs"].get(group)
        if done:
            environment = done["environment"]
            yield (
                f"{done['date'][:10]}, `{done['command']}`, {done['rounds']} rounds: {environment['processor']}, "
                f"{done['cores']} cores, {environment['threads']} threads, {environment['precision']}; LibTorch "
                f"{environment['libtorch']}, {environment['onednn']}; reference: torch {done['reference']['torch']}, "
                f"SciPy {done['reference']['scipy']}. Other programs took at most "
                f"{100 * done['taken by other programs, at most']:.0f} % of the machine during a measurement.\n"
            )
        yield "| | value | against | ratio | goal | |"
        yield "| --- | ---: | --- | ---: | ---: | --- |"
        yield from (row(entry) for entry in result["entries"] if entry["group"] == group)
        yield ""


def write_page():
    head = PAGE.read_text(encoding="utf-8").split("\n## ")[0].rstrip() + "\n\n"
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    PAGE.write_text(head + "\n".join(tables(result)), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.7, help="of one measurement, at least")
    parser.add_argument("--pages", action="store_true", help="only write the page")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.groups) - set(GROUPS)
    if unknown:
        parser.error(f"there is no group '{unknown.pop()}'")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not arguments.pages:
        run(arguments.groups or GROUPS, arguments)
    write_page()


if __name__ == "__main__":
    main()
