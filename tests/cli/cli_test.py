#!/usr/bin/env python3
"""Runs the built tool on a small data set: cli_test.py PATH_TO_MCCI [unittest arguments]"""
import csv
import fcntl
import gzip
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

TOOL = sys.argv.pop(1)
CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
PARITY = pathlib.Path(__file__).parents[1] / "parity"
PYTHON = "/usr/bin/python3"  # Debian's: it has the packages of ./dev
TRAIN = ["--backbone", "resnet8", "--width", "4", "--ain-width", "4", "--batch-size", "32", "--threads", "1"]


def mcci(*arguments, **options):
    return subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def write_idx(folder, split, count, seed):
    """Images of 16x16 whose bright quadrant is their class, as IDX files."""
    draw = random.Random(seed)
    labels = [i % 4 for i in range(count)]
    pixels = bytearray()
    for label in labels:
        for row in range(16):
            for column in range(16):
                inside = row // 8 == label // 2 and column // 8 == label % 2
                pixels.append(draw.randrange(100) + (100 if inside else 0))
    with gzip.open(folder / f"{split}-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">IIII", 0x803, count, 16, 16) + bytes(pixels))
    with gzip.open(folder / f"{split}-labels-idx1-ubyte.gz", "wb") as file:
        file.write(struct.pack(">II", 0x801, count) + bytes(labels))


class Tool(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.data = cls.folder / "data"
        cls.data.mkdir()
        write_idx(cls.data, "train", 400, 1)
        write_idx(cls.data, "t10k", 100, 2)
        cls.poisoned = cls.folder / "poisoned"
        made = mcci("poison", "--data", cls.data, "--attack", "badnets", "--rate", "0.1", "--out", cls.poisoned)
        assert made.returncode == 0, made.stderr
        cls.manifest = cls.poisoned / "truth" / "manifest.json"
        cls.run_folder = cls.folder / "run"
        trained = mcci("train", "--data", cls.poisoned / "dataset", "--out", cls.run_folder, "--epochs", "2", *TRAIN)
        assert trained.returncode == 0, trained.stderr

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def assertFails(self, done, code, *texts):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn("mcci: error: ", done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)

    # The main path, as the README shows it.

    def test_poisoned_folder_keeps_the_truth_apart(self):
        truth = json.loads(self.manifest.read_text())
        self.assertEqual(truth["schema"], "mcci.manifest/1")
        learner = {path.name for path in (self.poisoned / "dataset").iterdir()}
        self.assertEqual(learner, {"dataset.json", "labels.csv", "images"})
        for name in ("dataset.json", "labels.csv"):
            text = (self.poisoned / "dataset" / name).read_text().lower()
            self.assertNotIn("poison", text)
            self.assertNotIn("badnets", text)

    def test_run_folder_holds_what_the_documentation_says(self):
        names = {path.name for path in self.run_folder.iterdir()}
        self.assertLessEqual({"config.json", "environment.json", "train.log", "checkpoint.safetensors", "result.json"},
                             names)
        cell = json.loads((self.run_folder / "result.json").read_text())["cells"][0]
        self.assertEqual(cell["defense"], "mcci")
        phases = [row["phase"] for row in cell["history"]]
        self.assertEqual((phases.count("keyholes"), phases.count("hearing"), phases.count("conditioned")), (2, 8, 2))

    def test_eval_prints_and_records_the_three_figures(self):
        done = mcci("eval", self.run_folder, "--test", self.data, "--manifest", self.manifest)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertTrue(lines[0].startswith("CA ") and "of 100)" in lines[0], done.stdout)
        self.assertTrue(lines[1].startswith("ASR") and "of 75)" in lines[1], done.stdout)
        self.assertTrue(lines[2].startswith("PA ") and "of 75)" in lines[2], done.stdout)
        cell = json.loads((self.run_folder / "result.json").read_text())["cells"][0]
        self.assertEqual(cell["counts"]["asr"]["total"], 75)
        self.assertEqual(cell["attack"], "badnets")

    def test_all_classes_counts_the_target_class_too(self):
        done = mcci("eval", self.run_folder, "--test", self.data, "--attack", "badnets", "--all-classes")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("of 100)  all triggered test images", done.stdout)
        self.assertIn("not recorded", done.stdout)

    def test_audit_ranks_all_training_images(self):
        done = mcci("audit", self.run_folder, "--manifest", self.manifest)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("AUROC", done.stdout)
        with open(self.run_folder / "audit.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), 400)
        self.assertEqual(list(rows[0]), ["path", "label", "suspicion", "suggested_label"])
        suspicion = [float(row["suspicion"]) for row in rows]
        self.assertEqual(suspicion, sorted(suspicion, reverse=True))
        self.assertIn("data:image/png;base64", (self.run_folder / "report.html").read_text())

    def test_predict_csv_and_json_agree(self):
        images = self.poisoned / "dataset" / "images"
        table = mcci("predict", self.run_folder, images)
        self.assertEqual(table.returncode, 0, table.stderr)
        rows = list(csv.DictReader(table.stdout.splitlines()))
        self.assertEqual(len(rows), 400)
        self.assertEqual(list(rows[0]), ["path", "class", "probability", "suspicion"])
        listed = json.loads(mcci("predict", self.run_folder, images, "--format", "json").stdout)
        self.assertEqual([row["class"] for row in listed], [row["class"] for row in rows])
        for perception in ("own", "attacked"):
            self.assertEqual(mcci("predict", self.run_folder, images, "--perception", perception).returncode, 0)

    def test_export_writes_weights_and_their_description(self):
        out = self.folder / "model.safetensors"
        done = mcci("export", self.run_folder, "--out", out, "--reference")
        self.assertEqual(done.returncode, 0, done.stderr)
        description = json.loads((self.folder / "model.json").read_text())
        self.assertEqual(description["architecture"], "resnet8")
        self.assertEqual(description["input"], [1, 16, 16])
        self.assertTrue((self.folder / "model-reference.safetensors").exists())
        self.assertFails(mcci("export", self.run_folder, "--out", out), 2, "is there already")

    def test_exported_weights_load_strictly_into_torchvision(self):
        python, check = "/usr/bin/python3", pathlib.Path(__file__).parent.parent / "parity" / "check_export.py"
        if subprocess.run([python, "-c", "import torchvision"], capture_output=True).returncode != 0:
            self.skipTest("python3-torchvision is not installed")
        run, out = self.folder / "resnet18", self.folder / "resnet18.safetensors"
        done = mcci("train", "--data", self.poisoned, "--out", run, "--epochs", "1", "--batch-size", "100", "--channels", "3",
                    "--backbone", "resnet18", "--normalise", "--ain-width", "4", "--threads", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(mcci("export", run, "--out", out, "--reference").returncode, 0)
        checked = subprocess.run([python, check, out, self.folder / "resnet18-reference.safetensors", "--arch", "resnet18"],
                                 capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_weights_that_came_from_torchvision_go_back_there(self):
        """Also those of transformers' ResNet and others do; tests/suite compares their names and numbers."""
        for arch, fixture, network in (
                ("vit", "backbone_vit_torchvision", ("vit_tiny_patch16_224", "--width", "24", "--depth", "2")),
                ("efficientnet", "backbone_efficientnet_torchvision", ("efficientnet_b0", "--width", "4"))):
            run = self.folder / f"from-{fixture}"
            done = mcci("train", "--data", self.poisoned, "--out", run, "--epochs", "1", "--batch-size", "100",
                        "--channels", "3", "--image-size", "48", "--defense", "none", "--normalise", "--threads", "1",
                        "--weights", FIXTURES / f"{fixture}.safetensors", "--backbone", *network)
            self.assertEqual(done.returncode, 0, done.stderr)
            for suffix, form in ((".safetensors", "safetensors"), (".pth", "pth")):
                out = self.folder / form / f"{fixture}{suffix}"
                out.parent.mkdir(exist_ok=True)
                done = mcci("export", run, "--out", out, "--format", form, "--reference")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.parity("check_export.py", out, out.with_name(f"{fixture}-reference.safetensors"), "--arch", arch)

    def exported(self, form):
        out = self.folder / f"as-{form}"
        if out.exists():
            return out, self.folder / f"as-{form}-reference.safetensors"
        done = mcci("export", self.run_folder, "--out", out, "--format", form, "--reference")
        self.assertEqual(done.returncode, 0, done.stderr)
        return out, self.folder / f"as-{form}-reference.safetensors"

    def parity(self, script, *arguments):
        """Of tests/parity; skips the test where a package is missing."""
        checked = subprocess.run([PYTHON, PARITY / script, *arguments], capture_output=True, text=True)
        if checked.returncode == 77 or "No module named" in checked.stderr:
            self.skipTest(checked.stdout + checked.stderr)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_exported_torchscript_runs_in_python(self):
        self.parity("check_torchscript.py", *self.exported("torchscript"))

    def test_exported_onnx_runs_in_other_runtimes(self):
        self.parity("check_onnx.py", *self.exported("onnx"))

    def test_exported_pth_is_read_with_weights_only(self):
        out, _ = self.exported("pth")
        weights, _ = self.exported("safetensors")
        code = ("import sys, torch, safetensors_io\n"
                "read = torch.load(sys.argv[1], weights_only=True)\n"
                "expected = safetensors_io.load(sys.argv[2])\n"
                "assert list(read) and set(read) == set(expected)\n"
                "assert all(torch.equal(read[name], expected[name]) for name in read)\n")
        script = self.folder / "check_pth.py"
        script.write_text(f"import sys\nsys.path.insert(0, {str(PARITY)!r})\n" + code)
        self.parity(script, out, weights)

    # Weights that come from elsewhere.

    def test_inspect_shows_what_a_file_holds(self):
        done = mcci("inspect", FIXTURES / "pth" / "checkpoint.pth")
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in ("format      pytorch", "tensors     16", "optimizer", "args.lr", "transposed", "[6,4]", "bfloat16"):
            self.assertIn(text, done.stdout)
        out, _ = self.exported("pth")
        found = json.loads(mcci("inspect", out, "--format", "json").stdout)
        self.assertEqual((found["schema"], found["kind"], found["format"]), ("mcci.inspect/1", "weights", "pytorch"))
        self.assertEqual(found["tensors"], sum(row["count"] for row in found["names"]))
        self.assertEqual(mcci("inspect", out, "--all").stdout.count("conv1.weight"), 4)

    def test_inspect_knows_the_files_of_mcci(self):
        checkpoint = json.loads(mcci("inspect", self.run_folder / "checkpoint.safetensors", "--format", "json").stdout)
        self.assertEqual((checkpoint["kind"], checkpoint["metadata"]["finished"]), ("checkpoint", True))
        run = json.loads(mcci("inspect", self.run_folder, "--format", "json").stdout)
        self.assertEqual((run["kind"], run["finished"], run["options"]["backbone"]), ("run", True, "resnet8"))
        manifest = mcci("inspect", self.manifest)
        self.assertEqual(manifest.returncode, 0, manifest.stderr)
        self.assertRegex(manifest.stdout, r"poison +40\b")
        self.assertIn("badnets", manifest.stdout)

    def test_inspect_runs_nothing_and_says_what_is_wrong(self):
        for name, texts in (("command.pth", ["posix.system"]), ("legacy.pth", ["legacy", "re-save it"]),
                            ("program.pth", ["TorchScript"]), ("module.pth", ["state_dict()"])):
            self.assertFails(mcci("inspect", FIXTURES / "pth" / name), 3, name, *texts)
        self.assertFails(mcci("inspect", self.folder / "absent"), 4, "absent")
        self.assertFails(mcci("inspect", self.data), 2, "no file of weights")
        self.assertFails(mcci("inspect"), 2, "path")

    def test_training_starts_from_weights(self):
        weights, _ = self.exported("safetensors")
        out = self.folder / "from-weights"
        arguments = ["train", "--data", self.poisoned / "dataset", "--epochs", "1", "--backbone", "resnet8", "--threads", "1"]
        start = ["--weights", weights, "--width", "4", "--ain-width", "4", "--training", "joint"]
        done = mcci(*arguments, *start, "--out", out, "--fine-tune", "linear-probe", "--average", "0.9", "--accumulate", "2",
                    "--optimizer", "adamw", "--clip-norm", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("everything but the last layer", done.stderr)  # MCCI ends the backbone in an embedding
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(len(config["weights_sha256"]), 64)
        again = self.folder / "from-weights.safetensors"
        self.assertEqual(mcci("export", out, "--out", again).returncode, 0)
        names = json.loads(mcci("inspect", again, "--format", "json").stdout)["names"]
        self.assertIn("fc.weight", [row["name"] for row in names])
        # Another network's: nothing is made.
        never = self.folder / "never"
        self.assertFails(mcci(*arguments, "--out", never, "--weights", weights, "--width", "8"), 3, "do not fit", "as-safetensors")
        self.assertFails(mcci(*arguments, "--out", never, "--weights", FIXTURES / "pth" / "command.pth"), 3, "posix.system")
        self.assertFails(mcci(*arguments, *start, "--out", never, "--average", "1"), 2, "average")
        self.assertFalse(never.exists())

    def test_transformer_trains_and_says_what_it_subtracts(self):
        run, out = self.folder / "vit", self.folder / "vit.safetensors"
        arguments = ["train", "--data", self.poisoned, "--out", run, "--epochs", "1", "--batch-size", "100",
                     "--channels", "3", "--backbone", "vit_nano_patch4_32", "--width", "12", "--depth", "1",
                     "--normalise", "--recompute", "--ain-width", "4", "--threads", "1"]
        done = mcci(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(mcci("export", run, "--out", out, "--reference").returncode, 0)
        description = json.loads((self.folder / "vit.json").read_text())
        self.assertEqual((description["depth"], description["mean"]), (1, [0.5, 0.5, 0.5]))

    def test_demo_compares_and_goes_on_where_it_was(self):
        out = self.folder / "demo"
        arguments = ["demo", "--data", self.data, "--out", out, "--backbone", "resnet8", "--width", "4",
                     "--epochs", "1", "--seeds", "1,2", "--curve-images", "50"]
        first = mcci(*arguments)
        self.assertEqual(first.returncode, 0, first.stderr)
        cells = json.loads((out / "result.json").read_text())["cells"]
        self.assertEqual([(cell["seed"], cell["defense"]) for cell in cells],
                         [(1, "none"), (1, "mcci"), (2, "none"), (2, "mcci")])
        written = self.times(out, "models/*/checkpoint.safetensors", "cells/*.json")
        self.assertEqual(len(written), 4 + 4)
        again = mcci(*arguments)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(self.times(out, "models/*/checkpoint.safetensors", "cells/*.json"), written)
        self.assertNotIn("images/s", again.stderr)

    # A grid.

    def times(self, folder, *patterns):
        return {path: path.stat().st_mtime_ns for pattern in patterns for path in folder.glob(pattern)}

    def grid(self, text=""):
        """Four cells that can be trained, and two that fail: no class has so many images."""
        file = self.folder / "grid.toml"
        file.write_text(f'''
            title = "grid"
            data = ["{self.data}"]
            models = [{{backbone = "resnet8", width = 4}}]
            attacks = ["badnets", {{name = "sig", rates = [0.9]}}]
            rates = [0, 0.1]
            seeds = [1]
            defenses = ["none", {{name = "mcci", options = {{ain-width = 4}}}}]
            curve-images = 20
            {text}
            [train]
            epochs = 4
            batch-size = 32
            threads = 1
            checkpoint-minutes = 0
            ''')
        return file

    def figures(self, out):
        cells = json.loads((out / "result.json").read_text())["cells"]
        for cell in cells:
            del cell["seconds"], cell["peak_memory_mib"]
            for epoch in cell["history"]:
                del epoch["seconds"]
        return cells

    def start(self, *arguments):
        return subprocess.Popen([TOOL, *map(str, arguments)], stderr=subprocess.PIPE, text=True)

    def wait_for(self, condition):
        deadline = time.monotonic() + 120
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertTrue(condition())

    def test_a_grid_that_is_killed_repeats_nothing_and_records_failures(self):
        grid, out = self.grid(), self.folder / "grid"
        arguments = ["bench", grid, "--out", out, "--jobs", "2"]
        process = self.start(*arguments)
        # One cell is done, another is being trained.
        self.wait_for(lambda: len(list(out.glob("models/*/result.json"))) > 0 and len(list(out.glob("cells/*.json"))) > 1)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        finished = self.times(out, "cells/*.json")
        self.assertFalse((out / "report.html").exists() and len(finished) == 6, "the grid ended before it was killed")

        done = mcci(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("clean-label attack has only", done.stdout)
        all_of_them = self.times(out, "cells/*.json")
        self.assertEqual({path: all_of_them[path] for path in finished}, finished)
        result = json.loads((out / "result.json").read_text())
        cells = result["cells"]
        self.assertEqual([(cell["attack"], cell["defense"], cell["error"] != "") for cell in cells],
                         [("none", "none", False), ("none", "mcci", False), ("badnets", "none", False),
                          ("badnets", "mcci", False), ("sig", "none", True), ("sig", "mcci", True)])
        self.assertIn("clean-label", cells[5]["error"])
        attacked = cells[3]
        self.assertEqual(attacked["counts"]["oracle_pa"]["total"], 75)
        self.assertIsNotNone(attacked["der"])
        self.assertGreater(attacked["peak_memory_mib"], 10)
        self.assertEqual(attacked["implanted"], cells[2]["asr"] >= 50)
        self.assertEqual(len(result["figures"]["embeddings"]), 2)
        self.assertIn("<svg", (out / "report.html").read_text())
        self.assertEqual(list((out / "poisoned").iterdir()), [])
        # The two undefended ones, and perhaps one whose cell was done in the moment of the kill.
        self.assertIn(len(list((out / "models").iterdir())), (2, 3))

        again = mcci(*arguments)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(self.times(out, "cells/*.json"), all_of_them)
        retried = mcci(*arguments, "--retry-failed")
        self.assertEqual(retried.returncode, 0, retried.stderr)
        self.assertEqual({path.name for path, at in self.times(out, "cells/*.json").items() if at != all_of_them[path]},
                         {path.name for path in all_of_them if json.loads(path.read_text())["error"]})

        # The same on two machines.
        parts = [self.folder / "part-1", self.folder / "part-2"]
        for i, part in enumerate(parts):
            done = mcci("bench", grid, "--out", part, "--shard", f"{i + 1}/2")
            self.assertEqual(done.returncode, 0, done.stderr)
        merged = self.folder / "merged"
        done = mcci("bench", "merge", *parts, "--out", merged)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.figures(merged), self.figures(out))
        for figure in json.loads((merged / "result.json").read_text())["figures"]["triggers"]:
            self.assertTrue((merged / figure["clean"]).exists())
        self.assertFails(mcci("bench", "merge", *parts, "--out", merged), 2, "holds a result")
        self.assertFails(mcci("bench", "merge", self.run_folder, "--out", self.folder / "never"), 2, "not the result of a grid")

    def test_a_grid_that_is_interrupted_saves_and_goes_on(self):
        out = self.folder / "interrupted-grid"
        arguments = ["bench", self.grid("oracle = false"), "--out", out]
        process = self.start(*arguments)
        self.wait_for(lambda: list(out.glob("models/*/checkpoint.safetensors")))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("the same command goes on", errors)
        self.assertEqual([path for path in out.glob("cells/*.json") if json.loads(path.read_text())["error"]], [])
        with open(out / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertFails(mcci(*arguments), 2, "another mcci works in this folder")
        done = mcci(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(json.loads((out / "result.json").read_text())["cells"]), 6)

    def test_the_smoke_grid(self):
        listed = mcci("bench", CONFIGS / "smoke.toml", "--list", cwd=self.folder)
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertIn("0 of 8 cells are finished", listed.stdout)
        self.assertFalse((self.folder / "runs").exists())
        done = mcci("bench", CONFIGS / "smoke.toml", "--jobs", "2", cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("smoke", done.stdout)
        self.assertTrue((self.folder / "runs" / "smoke" / "report.html").exists())
        self.assertIn("8 of 8 cells are finished", mcci("bench", CONFIGS / "smoke.toml", "--dry-run", cwd=self.folder).stdout)

    def test_grid_files_are_checked_before_anything_is_done(self):
        out = self.folder / "never"
        self.assertFails(mcci("bench", self.grid("rate = [0.1]"), "--out", out), 2, "grid.toml:10", "rates")
        self.assertFails(mcci("bench", self.grid(), "--out", out, "--shard", "3/2"), 2, "--shard")
        self.assertFails(mcci("bench", self.grid(), "--out", out, "--job", "2"), 2, "--jobs")
        self.assertFails(mcci("bench", self.folder / "absent.toml"), 4, "absent.toml")
        self.assertFails(mcci("bench"), 2, "no grid")
        self.assertFails(mcci("bench", "merge", self.run_folder), 2, "--out")

    def test_gallery_shows_triggers_and_what_failed(self):
        out = self.folder / "gallery"
        done = mcci("gallery", "--data", self.data, "--out", out, "--attacks", "badnets,several,clean-image",
                    "--attack-preset", "paper", "--images", "2", "--threads", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads((out / "result.json").read_text())
        names = [trigger["attack"].split(",")[0] for trigger in result["figures"]["triggers"]]
        self.assertEqual(names, ["badnets", "badnets"])
        self.assertEqual([cell["attack"] for cell in result["cells"]], ["clean-image", "several"])
        self.assertIn("backdoorbench", result["cells"][0]["error"])  # the preset that there is
        page = (out / "report.html").read_text()
        self.assertEqual(page.count("data:image/png;base64"), 8)
        self.assertIn(result["cells"][0]["error"].split(";")[0].replace("'", "&#39;"), page)
        self.assertFails(mcci("gallery", "--data", self.data, "--out", out), 2, str(out))
        self.assertFails(mcci("gallery", "--data", self.data, "--out", self.folder / "never", "--attacks", "badnet"), 2,
                         "badnets")

    def test_gallery_of_learned_features_and_mixtures(self):
        out = self.folder / "gallery-learned"
        done = mcci("gallery", "--data", self.data, "--out", out, "--attacks", "several,clean-image,refool",
                    "--images", "1", "--threads", "1", env={**os.environ, "MCCI_CACHE": str(self.folder / "cache")})
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads((out / "result.json").read_text())
        self.assertEqual((len(result["figures"]["triggers"]), result["cells"]), (3, []))

    def test_list_names_presets_and_options(self):
        done = mcci("poison", "--list")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^badnets: a small patch.*\n  presets backdoorbench paper\n  options .*--patch-size")
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 110)

    # A run that is stopped.

    def weights(self, run):
        out = self.folder / f"{run.name}.safetensors"
        done = mcci("export", run, "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out.read_bytes()

    def long_run(self, name):
        run = self.folder / name
        return run, ["train", "--data", self.poisoned / "dataset", "--out", run, "--epochs", "12",
                     "--checkpoint-minutes", "0", *TRAIN]

    def stop_and_resume(self, name, how):
        run, arguments = self.long_run(name)
        process = subprocess.Popen([TOOL, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not (run / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(how)
        _, errors = process.communicate(timeout=120)
        self.assertFalse((run / "result.json").exists(), "the run ended before it was stopped")
        self.assertFails(mcci("eval", run, "--test", self.data), 2, "has not finished", "--resume")
        done = mcci("train", "--out", run, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        return run, process.returncode, errors

    def test_stopped_runs_end_as_uninterrupted_ones(self):
        whole, arguments = self.long_run("whole")
        self.assertEqual(mcci(*arguments).returncode, 0)
        expected = self.weights(whole)
        killed, _, _ = self.stop_and_resume("killed", signal.SIGKILL)
        self.assertEqual(self.weights(killed), expected)
        interrupted, code, errors = self.stop_and_resume("interrupted", signal.SIGINT)
        self.assertEqual(code, 130, errors)
        self.assertIn("continue with --resume", errors)
        self.assertEqual(self.weights(interrupted), expected)

    def test_a_full_disk_loses_nothing(self):
        run, arguments = self.long_run("full")
        limited = "ulimit -f 8; exec \"$0\" \"$@\""  # 8 blocks of 512 or 1024 bytes: config.json fits, a checkpoint does not
        done = subprocess.run(["bash", "-c", limited, TOOL, *map(str, arguments)], capture_output=True, text=True,
                              timeout=300, preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        self.assertFails(done, 4, "checkpoint.safetensors")
        self.assertEqual([path.name for path in run.iterdir() if ".tmp" in path.name], [])
        done = mcci("train", "--out", run, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)

    # Bad input: one clear message, the right exit code, nothing left behind.

    def test_a_taken_folder_is_never_written_over(self):
        before = (self.run_folder / "checkpoint.safetensors").read_bytes()
        self.assertFails(mcci("train", "--data", self.data, "--out", self.run_folder), 2, "not empty", "--resume")
        self.assertFails(mcci("train", "--data", self.data, "--out", self.run_folder, "--resume", "--epochs", "9"), 2,
                         "other options")
        self.assertEqual((self.run_folder / "checkpoint.safetensors").read_bytes(), before)
        self.assertFails(mcci("poison", "--data", self.data, "--out", self.poisoned), 2, "is there already")

    def test_unknown_names_list_candidates(self):
        out = self.folder / "never"
        for arguments, texts in (
                (["train", "--data", self.data, "--out", out, "--backbone", "resnet19"], ["resnet18"]),
                (["train", "--data", self.data, "--out", out, "--defense", "mci"], ["mcci"]),
                (["train", "--data", self.data, "--out", out, "--preset", "papr"], ["paper"]),
                (["train", "--data", self.data, "--out", out, "--epoch", "3"], ["--epochs"]),
                (["poison", "--data", self.data, "--out", out, "--attack", "badnet"], ["badnets"]),
                (["train", "--data", self.folder / "absent", "--out", out], ["absent"]),
                (["train", "--out", out], ["--data"]),
        ):
            self.assertFails(mcci(*arguments), 2, *texts)
        self.assertFalse(out.exists())

    def test_values_out_of_range(self):
        out = self.folder / "never"
        for name, value in (("epochs", "0"), ("epochs", "many"), ("lr", "-1"), ("lr", "nan"), ("batch-size", "0")):
            self.assertFails(mcci("train", "--data", self.data, "--out", out, f"--{name}={value}"), 2, name)
        self.assertFails(mcci("poison", "--data", self.data, "--out", out, "--rate", "1.5"), 2, "rate")
        self.assertFalse(out.exists())

    def test_config_file(self):
        config = self.folder / "train.toml"
        config.write_text(f'data = "{self.data}"\nepochs = 1\nbackbone = "resnet8"\nwidth = 4\npreset = "robust"\n')
        out = self.folder / "from-toml"
        done = mcci("train", "--config", config, "--out", out, "--width", "2", "--ain-width", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        options = json.loads((out / "config.json").read_text())["options"]
        self.assertEqual((options["epochs"], options["width"], options["optimizer"]), (1, 2, "sgd"))
        config.write_text("epochs = 1\nbackbon = 'resnet8'\n")
        self.assertFails(mcci("train", "--config", config, "--out", self.folder / "never"), 2, "train.toml:2", "backbone")
        config.write_text("epochs = = 1\n")
        self.assertFails(mcci("train", "--config", config, "--out", self.folder / "never"), 2, "train.toml:1")

    def test_damaged_data(self):
        broken = self.folder / "broken"
        broken.mkdir()
        write_idx(broken, "train", 40, 3)
        file = broken / "train-images-idx3-ubyte.gz"
        file.write_bytes(file.read_bytes()[:200])
        out = self.folder / "never"
        self.assertFails(mcci("train", "--data", broken, "--out", out), 3, "train-images-idx3-ubyte.gz")
        self.assertFalse(out.exists())

    def test_damaged_runs(self):
        for name, damage in (("checkpoint.safetensors", lambda b: b[:len(b) // 2]),
                             ("checkpoint.safetensors", lambda b: b"\xff" * 8 + b[8:]),
                             ("config.json", lambda b: b[:-20])):
            copy = self.folder / "damaged"
            subprocess.run(["cp", "-r", self.run_folder, copy], check=True)
            (copy / name).write_bytes(damage((copy / name).read_bytes()))
            self.assertFails(mcci("eval", copy, "--test", self.data), 3, name)
            subprocess.run(["rm", "-r", copy], check=True)
        self.assertFails(mcci("eval", self.folder / "absent", "--test", self.data), 4, "config.json")

    def test_a_plain_model_cannot_be_controlled_or_audited(self):
        out = self.folder / "plain"
        done = mcci("train", "--data", self.data, "--out", out, "--defense", "none", "--epochs", "1", "--backbone",
                    "resnet8", "--width", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFails(mcci("audit", out), 2, "--defense mcci")
        self.assertFails(mcci("eval", out, "--test", self.data, "--perception", "own"), 2, "clean")
        self.assertEqual(mcci("predict", out, self.poisoned / "dataset" / "images").returncode, 0)

    def test_manifest_of_another_set(self):
        other = self.folder / "other"
        write = self.folder / "other-data"
        write.mkdir()
        write_idx(write, "train", 100, 5)
        self.assertEqual(mcci("poison", "--data", write, "--out", other).returncode, 0)
        self.assertFails(mcci("audit", self.run_folder, "--manifest", other / "truth" / "manifest.json"), 2, "manifest")
        self.assertFails(mcci("audit", self.run_folder, "--manifest", self.run_folder / "config.json"), 3, "config.json")

    def test_help_names_defaults_and_exit_codes(self):
        self.assertIn("Exit codes", mcci("--help").stdout)
        for command in ("poison", "train", "eval", "predict", "audit", "export", "inspect", "report", "demo", "gallery",
                        "bench", "backbones"):
            done = mcci(command, "--help")
            self.assertEqual(done.returncode, 0, command)
            self.assertIn("Example: mcci " + command, done.stdout)
        self.assertIn("default: robust", mcci("train", "--help").stdout)
        self.assertIn("badnets", mcci("poison", "--list").stdout)
        listed = mcci("backbones").stdout
        self.assertIn("vit_base_patch16_clip_224", listed)
        self.assertIn("mean 0.485 0.456 0.406", listed)
        self.assertIn("torchvision", listed)
        self.assertFails(mcci(), 2)
        self.assertFails(mcci("trian"), 2)

    def test_reports(self):
        for form, text in (("text", "mcci"), ("table", "|"), ("markdown", "## mcci on")):
            done = mcci("report", self.run_folder, "--format", form)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(text, done.stdout)
        out = self.folder / "page.html"
        self.assertEqual(mcci("report", self.run_folder, "--out", out).returncode, 0)
        self.assertIn("<html", out.read_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
