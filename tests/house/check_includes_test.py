"""Each rule of scripts/check_includes.py must catch its breach in a small house built for the purpose."""

import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import check_includes  # noqa: E402


ROOMS = {"core": [], "data": ["core"], "train": ["data"], "attacks": ["data"], "method": ["train"],
         "suite": ["attacks", "method"], "report": ["core"], "cli": ["suite"]}


class CheckIncludes(unittest.TestCase):
    def breaches(self, rooms, files=()):
        """Of a source tree made of `rooms`, in order, each with its ROOMS, and of `files`, path -> text."""
        tree = {"CMakeLists.txt": "".join(f"add_subdirectory(mcci/{room})\n" for room in rooms)}
        for room, uses in rooms.items():
            tree[f"mcci/{room}/CMakeLists.txt"] = (f"mcci_room({room}\n  SOURCES a.cpp  # ROOMS attacks\n"
                                                   f"  ROOMS {' '.join(uses)}\n  PUBLIC mcci_torch)\n")
        rows = (f"| `{room}` | what | {', '.join(r for r in rooms if r in uses)} |\n" for room, uses in rooms.items())
        tree["docs/architecture.md"] = "| room | what | may include |\n|---|---|---|\n" + "".join(rows)
        tree.update(files)
        with tempfile.TemporaryDirectory() as folder:
            for name, text in tree.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return check_includes.check(Path(folder))

    def assert_one(self, breaches, *parts):
        self.assertEqual(len(breaches), 1, breaches)
        for part in parts:
            self.assertIn(part, breaches[0])

    def test_allowed_includes_pass(self):
        self.assertEqual([], self.breaches(ROOMS, {
            "mcci/train/loop.cpp": '#include <torch/types.h>\n#include "mcci/train/loop.hpp"\n'
                                   '#include "mcci/core/error.hpp"\n',
            "mcci/suite/evaluate.cpp": '#include "mcci/attacks/attack.hpp"\n',
            "mcci/cli/main.cpp": '#include "mcci/report/html.hpp"\n',
        }))

    def test_include_outside_the_table(self):
        found = self.breaches(ROOMS, {"mcci/data/idx.hpp": '#pragma once\n\n#  include "mcci/train/loop.hpp"\n'})
        self.assert_one(found, "mcci/data/idx.hpp:3", "'data' may not include mcci/train/loop.hpp")

    def test_learners_never_include_attacks(self):
        for room in ("data", "train", "method"):
            found = self.breaches(ROOMS, {f"mcci/{room}/a.cpp": '#include "mcci/attacks/poisoned_dataset.hpp"\n'})
            self.assert_one(found, f"mcci/{room}/a.cpp:1", "attacks")

    def test_a_rooms_list_cannot_open_attacks(self):
        found = self.breaches({**ROOMS, "method": ["train", "attacks"]})
        self.assert_one(found, "mcci/method/CMakeLists.txt", "'method' reaches 'attacks'")

    def test_attacks_cannot_be_reached_through_another_room(self):
        found = self.breaches({"core": [], "attacks": ["core"], "bridge": ["attacks"], "method": ["bridge"]})
        self.assertEqual(2, len(found), found)
        self.assertIn("'bridge' reaches 'attacks'", found[0])
        self.assertIn("'method' reaches 'attacks'", found[1])

    def test_rooms_without_torch(self):
        for header in ("torch/types.h", "ATen/ATen.h", "c10/util/Exception.h"):
            found = self.breaches(ROOMS, {"mcci/core/log.cpp": f"#include <{header}>\n"})
            self.assert_one(found, "mcci/core/log.cpp:1", header)

    def test_rooms_without_torch_cannot_reach_rooms_with_it(self):
        found = self.breaches({**ROOMS, "report": ["core", "data"]})
        self.assert_one(found, "mcci/report/CMakeLists.txt", "reaches 'data'")

    def test_rooms_only_look_down(self):
        found = self.breaches({**ROOMS, "data": ["core", "train"]})
        self.assert_one(found, "mcci/data/CMakeLists.txt", "'train' is not below 'data'")

    def test_unknown_room(self):
        found = self.breaches({**ROOMS, "train": ["data", "dta"]})
        self.assert_one(found, "mcci/train/CMakeLists.txt", "unknown room 'dta'")

    def test_folder_without_a_declaration(self):
        found = self.breaches(ROOMS, {"mcci/core/CMakeLists.txt": "# mcci_room(core)\n"})
        self.assert_one(found, "mcci/core/CMakeLists.txt", "no mcci_room()")

    def test_folder_that_is_no_room(self):
        found = self.breaches(ROOMS, {"mcci/misc/a.hpp": ""})
        self.assert_one(found, "mcci/misc", "no add_subdirectory")

    def test_the_documented_table_agrees(self):
        rows = [f"| `{room}` | what | {', '.join(r for r in ROOMS if r in uses)} |" for room, uses in ROOMS.items()]
        wrong_column = [row.replace("| data |", "| core, data |") if "`train`" in row else row for row in rows]
        self.assert_one(self.breaches(ROOMS, {"docs/architecture.md": "\n".join(wrong_column) + "\n"}),
                        "the last column of 'train' should read 'data'")
        self.assert_one(self.breaches(ROOMS, {"docs/architecture.md": "\n".join(rows[1:] + rows[:1]) + "\n"}),
                        "the rooms in order are core, data")

    def test_quoting(self):
        for line in ('#include <mcci/core/error.hpp>', '#include "dataset.hpp"'):
            self.assert_one(self.breaches(ROOMS, {"mcci/data/a.cpp": line + "\n"}), "write own headers")


if __name__ == "__main__":
    unittest.main()
