# SPDX-License-Identifier: BSD-2-Clause
"""Drives a machine through its serial console: waits for text, runs shell commands, tells their status.

Commands are framed by markers that contain a random number and that never occur joined in what is typed,
so neither the terminal's echo nor a program's own output can be taken for them.
"""

import base64
import os
import re
import secrets
import select
import subprocess
import time


class Timeout(Exception):
    """What was waited for did not come; the message carries the end of the console's output."""


class Ended(Exception):
    """The machine ended while something was waited for."""


def plain(data):
    """Output as the program wrote it: without the carriage returns that terminals and serial lines add."""
    return re.sub(rb"\r+\n", b"\n", data).replace(b"\r", b"")


class Console:
    """One QEMU process with its serial console on pipes. Use as a context manager: it never outlives the block."""

    def __init__(self, command, transcript=None):
        self.buffer = b""       # What has arrived and was not consumed yet.
        self.history = b""      # Everything that arrived.
        self.transcript = open(transcript, "wb") if transcript else None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass
        if self.transcript:
            self.transcript.close()
            self.transcript = None

    def read_some(self, timeout):
        """Waits for more output at most `timeout` seconds; False when none came."""
        ready, _, _ = select.select([self.process.stdout], [], [], max(timeout, 0))
        if not ready:
            return False
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            self.process.wait()
            words = self.process.stderr.read().decode(errors="replace").strip()
            raise Ended(f"the machine ended (QEMU's status {self.process.returncode}) {words}\n{self.tail()}")
        self.buffer += data
        self.history += data
        if self.transcript:
            self.transcript.write(data)
            self.transcript.flush()
        return True

    def tail(self, lines=25):
        text = self.history.decode(errors="replace").replace("\r", "")
        return "\n".join("    | " + line for line in text.splitlines()[-lines:])

    def expect(self, pattern, timeout, on_data=None):
        """Waits until `pattern` (bytes or str regular expression) matches; consumes through it; returns the match."""
        if isinstance(pattern, str):
            pattern = pattern.encode()
        regex = re.compile(pattern, re.MULTILINE | re.DOTALL)
        deadline = time.monotonic() + timeout
        while True:
            match = regex.search(self.buffer)
            if match:
                self.before = self.buffer[: match.start()]
                self.buffer = self.buffer[match.end():]
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout(f"no {pattern!r} within {timeout} s; the console's end:\n{self.tail()}")
            if self.read_some(min(left, 1.0)) and on_data:
                on_data()

    def wait_end(self, timeout):
        """Waits until QEMU ends by itself; returns its status."""
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                self.read_some(min(1.0, deadline - time.monotonic()))
        except Ended:
            return self.process.returncode
        raise Timeout(f"the machine still runs after {timeout} s; the console's end:\n{self.tail()}")

    def drain(self, quiet):
        """Reads until nothing has come for `quiet` seconds."""
        while self.read_some(quiet):
            pass

    def send(self, text):
        data = text.encode() if isinstance(text, str) else text
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_shell(self, timeout):
        """Waits for a shell that answers, whatever its prompt looks like."""
        deadline = time.monotonic() + timeout
        while True:
            self.expect(rb"[#$>] ?(\x1b\[[0-9;]*[a-zA-Z])*\Z", max(deadline - time.monotonic(), 0.1))
            self.drain(0.1)
            word = f"{secrets.randbits(64):x}"
            self.send(f"echo {word[:4]}''{word[4:]}\n")
            try:
                self.expect(word, min(10, max(deadline - time.monotonic(), 1)))
            except Timeout:
                if time.monotonic() >= deadline:
                    raise
                continue
            self.drain(0.05)
            return

    def run(self, command, timeout=30, on_output=None):
        """Runs one shell command; returns (status, output). `on_output` gets pieces as they arrive."""
        word = f"{secrets.randbits(64):x}"
        first, last = word[:6], word[6:]
        self.buffer = b""
        joint = " " if command.rstrip().endswith("&") else "; "
        self.send(f"echo {first}''{last}; {command}{joint}echo {last}''{first}$?.\n")
        self.expect(f"{first}{last}\r*\n", timeout)
        end = f"{last}{first}(\\d+)\\.\r*\n"
        longest = len(last + first) + 8
        given = 0

        def pass_on():
            nonlocal given
            safe = max(len(self.buffer) - longest, given)
            if on_output and safe > given and not re.search(end.encode(), self.buffer):
                on_output(plain(self.buffer[given:safe]))
                given = safe

        pass_on()
        match = self.expect(end, timeout, pass_on)
        if on_output and len(self.before) > given:
            on_output(plain(self.before[given:]))
        output = plain(self.before).decode(errors="replace")
        return int(match.group(1)), output

    def put_file(self, path, data, timeout=30):
        """Writes a small file inside the machine, whatever bytes it holds."""
        encoded = base64.b64encode(data).decode()
        self.run(f": > {path}.b64", timeout)
        for start in range(0, len(encoded), 512):
            status, output = self.run(f"echo {encoded[start:start + 512]} >> {path}.b64", timeout)
            if status != 0:
                raise Timeout(f"cannot write {path} in the machine: {output}")
        status, output = self.run(f"base64 -d {path}.b64 > {path} && rm {path}.b64", timeout)
        if status != 0:
            raise Timeout(f"cannot write {path} in the machine: {output}")
