#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs Debian's Linux as a guest of Cero through the stages of tests/linux/stages, once per number of vCPUs."""

import argparse
import datetime
import fnmatch
import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "tools" / "lib"), str(ROOT / "tests" / "e2e"), str(HERE)]
from build import IMAGES, prepare  # noqa: E402
from machine import DEBIAN, LinuxMachine  # noqa: E402
from paths import BUILD  # noqa: E402
from progress import Failure, say  # noqa: E402

DESCRIPTION = """\
Boots Debian 12 (tools/debian-image) as a guest and runs the stages: one file each in tests/linux/stages, a module
with TITLE, ORDER and run(linux, short), which returns what it measured or saw in one line, or raises. Optional:
VCPUS = (4,) where a stage asks for certain numbers, CPUS = 2 and MEMORY = 3072 (MiB) of the machine, SECOND = True
for a second Debian disk, SETTINGS = ("memory=1024",) for its guest, ALLOWED = (regular expressions of log lines that
it provokes), SELF = True when it creates and ends the guest itself. Every stage fails when the guest's or Cero's log
complains. Logs: build/linux-logs. The exit status is 0 when every stage passed."""

MARKS = ("<!-- tests/linux/run.py --docs: begin -->\n", "<!-- tests/linux/run.py --docs: end -->\n")


@dataclass
class Result:
    stage: str
    title: str
    vcpus: int
    passed: bool
    seconds: float
    words: str


def load_stages():
    stages = []
    for path in sorted((HERE / "stages").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"stage_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.NAME = path.stem
        stages.append(module)
    return sorted(stages, key=lambda stage: (stage.ORDER, stage.NAME))


class Tee(io.TextIOBase):
    """What a stage prints goes to its log, and to the terminal when that is asked for."""

    def __init__(self, path, verbose):
        self.file, self.verbose = open(path, "w"), verbose

    def write(self, text):
        self.file.write(text)
        self.file.flush()
        if self.verbose:
            sys.__stdout__.write(text)
        return len(text)

    def close(self):
        self.file.close()


class Runner:
    def __init__(self, options, stages):
        self.options, self.stages = options, stages
        self.linux, self.key = None, None
        self.results = []
        self.logs = BUILD / "linux-logs"
        self.logs.mkdir(parents=True, exist_ok=True)

    def machine_for(self, stage, vcpus):
        """The running machine when it fits, a new one otherwise."""
        key = (vcpus, getattr(stage, "CPUS", self.options.cpus), getattr(stage, "SECOND", False),
               getattr(stage, "MEMORY", 3072))
        if self.linux is None or self.key != key:
            self.stop()
            linux = LinuxMachine(vcpus, cpus=key[1], second=key[2], memory_mib=key[3])
            linux.__enter__()
            self.linux, self.key = linux, key
        return self.linux

    def stop(self):
        if self.linux is not None:
            self.linux.__exit__()
        self.linux = None

    def run_stage(self, stage, vcpus):
        started = time.monotonic()
        log = Tee(self.logs / f"{stage.NAME}-{vcpus}.log", self.options.verbose)
        try:
            with redirect_stdout(log):
                linux = self.machine_for(stage, vcpus)
                settings = tuple(getattr(stage, "SETTINGS", ()))
                if getattr(stage, "SELF", False) or linux.settings != settings:
                    linux.destroy()
                if not getattr(stage, "SELF", False) and not linux.is_running():
                    linux.start(*settings)
                words = stage.run(linux, self.options.short)
                if linux.is_running():
                    bad = linux.complaints(getattr(stage, "ALLOWED", ()))
                    if bad:
                        raise AssertionError("the logs complain:\n" + "\n".join(bad[:20]))
            passed = True
        except Exception as error:  # Whatever a stage stumbles over, the others run.
            passed, words = False, str(error)
            traceback.print_exc(file=log)
            if self.linux is not None and self.linux.rig.console is not None:
                log.file.write(self.linux.rig.console.tail(200))
                log.file.write(kernel_log(self.linux))
            self.stop()  # the next stage gets a machine that nothing has happened to
        finally:
            log.close()
        result = Result(stage.NAME, stage.TITLE, vcpus, passed, time.monotonic() - started, words or "")
        self.results.append(result)
        shown = result.words if passed else result.words[:600]
        print(f"{'ok    ' if passed else 'FAILED'} {stage.NAME}, {vcpus} vCPUs ({result.seconds:.0f} s): {shown}",
              flush=True)

    def run(self):
        try:
            for vcpus in self.options.vcpus:
                for stage in self.stages:
                    if vcpus in getattr(stage, "VCPUS", (vcpus,)):
                        self.run_stage(stage, vcpus)
        finally:
            self.stop()
        return self.results


def kernel_log(linux):
    """The end of the guest's, which often tells why a stage failed; the guest may be beyond telling."""
    try:
        return "\nthe guest's kernel log:\n" + "\n".join(linux.run("dmesg", 60).splitlines()[-100:]) + "\n"
    except Exception as error:  # whatever it is, the stage's own failure matters more
        return f"\nno kernel log of the guest: {error}\n"


def versions():
    def first_line(*command):
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return (answer.stdout.splitlines() or [""])[0]

    packages = dict(line.split(" ", 1) for line in (DEBIAN / "versions.txt").read_text().splitlines())
    kernel = next((f"{name} {version}" for name, version in packages.items()
                   if re.fullmatch(r"linux-image-\d.*", name)), "?")
    wanted = ("systemd", "fio", "stress-ng", "iperf3", "gdb", "openssh-server")
    return [f"Cero {first_line('git', '-C', str(ROOT), 'describe', '--always', '--dirty')}",
            first_line("qemu-system-x86_64", "--version"), kernel,
            ", ".join(f"{name} {packages.get(name, '?')}" for name in wanted)]


def transcript(results, options):
    lines = [f"{datetime.date.today()}, {'short form' if options.short else 'full form'}, machine of {options.cpus} CPUs "
             "(TCG): " + "; ".join(versions()) + ".", "", "| stage | what | vCPUs | result | s | |", "|---|---|---|---|---|---|"]
    for result in sorted(results, key=lambda r: r.vcpus):
        words = result.words.splitlines()[0].replace("|", "\\|") if result.words else ""
        lines.append(f"| `{result.stage}` | {result.title} | {result.vcpus} | {'passed' if result.passed else 'FAILED'} | "
                     f"{result.seconds:.0f} | {words} |")
    return "\n".join(lines) + "\n"


def write_docs(text):
    page = ROOT / "docs" / "guests.md"
    before, rest = page.read_text().split(MARKS[0])
    page.write_text(before + MARKS[0] + text + MARKS[1] + rest.split(MARKS[1])[1])


def main():
    parser = argparse.ArgumentParser(prog="tests/linux/run.py", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="STAGE", help="stage, or pattern with * and ?; may be repeated")
    add("--vcpus", default="1,2,4", metavar="N[,N...]", help="numbers of the guest's vCPUs, one run each (1,2,4)")
    add("--cpus", type=int, default=2, metavar="N", help="CPUs of the machine (2)")
    add("--short", action="store_true", help="the short form of each stage: minutes in place of hours")
    add("--docs", action="store_true", help="put the table into docs/guests.md")
    add("--list", action="store_true", help="name the stages and end")
    add("--verbose", action="store_true", help="show the logs while they are written")
    options = parser.parse_args()
    stages = load_stages()
    if options.list:
        print("\n".join(f"{stage.NAME:12} {stage.TITLE}" for stage in stages))
        return 0
    try:
        options.vcpus = [int(word) for word in options.vcpus.split(",")]
    except ValueError:
        parser.error(f"--vcpus {options.vcpus}: write numbers with commas, as in 1,2,4")
    for pattern in options.only:
        if not any(fnmatch.fnmatch(stage.NAME, pattern) for stage in stages):
            parser.error(f"--only {pattern}: no such stage; --list names them")
    if options.only:
        stages = [stage for stage in stages if any(fnmatch.fnmatch(stage.NAME, p) for p in options.only)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # QEMU and the scratch files go, too
    try:
        prepare(("build", "run", "linux"), targets=IMAGES)
        results = Runner(options, stages).run()
    except Failure as error:
        say(error)
        return 2
    text = transcript(results, options)
    (BUILD / "linux-transcript.md").write_text(text)
    if options.docs:
        write_docs(text)
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed; {os.path.relpath(BUILD / 'linux-transcript.md')}")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
