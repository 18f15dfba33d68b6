# SPDX-License-Identifier: BSD-2-Clause
"""Which tests there are: Meson's, the checks of the tree, other builds, and those that drive a machine."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from paths import BUILD, ROOT
from progress import Failure


@dataclass
class Test:
    name: str
    command: list
    limit: int = 60
    weight: int = 1        # how many slots it takes
    priority: int = 0      # higher starts earlier
    directory: Path = ROOT
    environment: dict = field(default_factory=dict)


def meson_tests():
    """Each test that a meson.build declares, as SUITE.NAME."""
    answer = subprocess.run(["meson", "introspect", "--tests", str(BUILD)], stdout=subprocess.PIPE, check=False)
    if answer.returncode != 0:
        raise Failure(f"meson cannot list the tests of {BUILD}")
    for entry in json.loads(answer.stdout):
        # Meson prefixes a suite by the project's name.
        suites = [suite.split(":")[-1] for suite in entry["suite"]]
        suite = next((s for s in suites if s not in ("cero", "")), "unit")
        environment = dict(entry.get("env", {}))
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        yield Test(f"{suite}.{entry['name'].replace(' ', '_')}", entry["cmd"],
                   limit=max(int(entry["timeout"] or 30), 60) * 3,  # the machine may be slow, and busy
                   weight=1, directory=Path(entry["workdir"] or BUILD), environment=environment)


def lint_tests():
    """One test per script in tests/lint."""
    for script in sorted((ROOT / "tests" / "lint").glob("*.py")):
        if not script.name.startswith("_"):
            yield Test(f"lint.{script.stem}", [sys.executable, str(script)], limit=600,
                       environment={"CERO_BUILD": str(BUILD)})


def build_tests():
    """The whole tree by clang, in a directory of its own; and twice, to compare."""
    script = ROOT / "tests" / "build"
    for path in sorted(script.glob("*.py")):
        if not path.name.startswith("_"):
            # A build fills the machine by itself: it runs alone.
            yield Test(f"build.{path.stem}", [sys.executable, str(path)], limit=2400, priority=1, weight=1000,
                       environment={"CERO_BUILD": str(BUILD)})


def guest_tests():
    """Each test kernel of tests/guest, as the first domain."""
    listed = (ROOT / "tests" / "guest" / "meson.build").read_text().split("guest_tests = [")[1].split("]")[0]
    for name in sorted(part.strip(" '\n") for part in listed.split(",")):
        if name:
            # Words for run.py, where the test says so.
            source = (ROOT / "tests" / "guest" / name / "main.cpp").read_text()
            words = "".join(re.findall(r"^// Run: (.*)$", source, re.MULTILINE))
            yield Test(f"guest.{name}",
                       [sys.executable, str(ROOT / "tests" / "guest" / "run.py"), name, *shlex.split(words)],
                       limit=180, environment={"CERO_BUILD": str(BUILD)})
    yield Test("guest.minimal", [sys.executable, str(ROOT / "tests" / "guest" / "run_minimal.py")], limit=180,
               environment={"CERO_BUILD": str(BUILD)})


def machine_tests():
    """tests/e2e/*.py: each drives a machine in QEMU."""
    for path in sorted((ROOT / "tests" / "e2e").glob("*.py")):
        if not path.name.startswith("_"):
            limit, weight, cells, words = 300, 1, [""], []
            for line in path.read_text().splitlines()[:20]:
                if line.startswith("# limit:"):
                    limit = int(line.split(":")[1].split()[0])
                if line.startswith("# alone"):
                    weight = 1000
                if line.startswith("# cells:"):  # a test for each, with what begins with a dash added to its command
                    listed = line.split(":")[1].split()
                    cells = [cell for cell in listed if not cell.startswith("-")]
                    words = [word for word in listed if word.startswith("-")]
            for cell in cells:
                name = ".".join(filter(None, ("e2e", path.stem, cell)))
                command = [sys.executable, str(path), *filter(None, (cell,)), *words]
                yield Test(name, command, limit=limit, priority=2, weight=weight,
                           environment={"CERO_BUILD": str(BUILD), "PYTHONPATH": os.pathsep.join(
                               [str(ROOT / "tools" / "lib"), str(ROOT / "tests" / "e2e")])})


def collect():
    tests = [*meson_tests(), *lint_tests(), *build_tests(), *guest_tests(),
             *machine_tests()]
    names = [test.name for test in tests]
    for name in names:
        if names.count(name) > 1:
            raise Failure(f"two tests are named {name}")
    return tests
