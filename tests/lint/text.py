# SPDX-License-Identifier: BSD-2-Clause
"""Text files: UTF-8, no tabs in code, no trailing blanks, a newline at the end, no conflict marks, no host names."""

import re

from _tree import CODE, ROOT, files, finish

TEXT = CODE | {".py", ".sh", ".build", ".ld", ".md", ".txt", ".cfg", ".json"}
problems = []
for path in files(*TEXT):
    data = (ROOT / path).read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        problems.append(f"{path}: not UTF-8")
        continue
    if data and not data.endswith(b"\n"):
        problems.append(f"{path}: no newline at the end")
    for number, line in enumerate(text.split("\n"), start=1):
        if line != line.rstrip():
            problems.append(f"{path}:{number}: blanks at the end of the line")
        if "\t" in line and path.suffix in CODE - {".S"}:
            problems.append(f"{path}:{number}: tab")
        if re.match(r"(<{7}|>{7}|={7})( |$)", line) and path.suffix != ".md":
            problems.append(f"{path}:{number}: conflict mark")
finish(problems, "text")
