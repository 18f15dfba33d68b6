# SPDX-License-Identifier: BSD-2-Clause
"""Prepares the machine: distribution packages, and library sources out of the distribution's source packages."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from paths import CACHE, LIB, SOURCES
from progress import Failure, run_step

# Source package -> (binary package that tells where it comes from, upstream version prefix we build with).
LIBRARY_SOURCES = {"lwip": ("liblwip-dev", "2.1.")}


def wanted_packages(groups):
    packages, group = [], None
    for line in (LIB / "packages.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("["):
            group = line.strip("[]")
        elif line and group in groups:
            packages.append(line)
    return packages


def missing_packages(packages):
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
    ).stdout
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def as_root(command):
    if os.geteuid() == 0:
        return command
    if shutil.which("sudo"):
        return ["sudo", *command]
    raise Failure(f"root is needed for `{' '.join(command)}` and there is no sudo: run it as root first")


def ensure_packages(groups):
    """Installs what is missing of the named groups of packages.txt."""
    if not shutil.which("dpkg-query"):
        return  # Not a Debian: the build will name what it misses.
    missing = missing_packages(wanted_packages(groups))
    if not missing:
        return
    CACHE.mkdir(exist_ok=True)
    log = CACHE / "apt.log"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_step("updating the package lists", as_root(["apt-get", "update"]), log)
    run_step(
        f"installing {len(missing)} packages ({' '.join(missing)})",
        as_root(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
                 "--no-install-recommends", *missing]),
        log, env=environment,
    )
    still = missing_packages(missing)
    if still:
        raise Failure(f"apt-get installed everything but {' '.join(still)}; see {log}")


def source_entries_of(text, deb822):
    """The binary package sources of one configuration file, as deb822 stanzas (dict of lower-case field -> value)."""
    stanzas = []
    if deb822:
        for block in re.split(r"\n\s*\n", text):
            fields, last = {}, None
            for line in block.splitlines():
                if line.startswith("#"):
                    continue
                if line[:1].isspace() and last:
                    fields[last] += "\n" + line
                elif ":" in line:
                    last, value = line.split(":", 1)
                    last = last.strip().lower()
                    fields[last] = value.strip()
            if "uris" in fields and fields.get("enabled", "yes").lower() not in ("no", "false", "0"):
                if "deb" in fields.get("types", "").split():
                    stanzas.append(fields)
        return stanzas
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(\[[^]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if not match:
            continue
        options, uri, suite, components = match.groups()
        fields = {"uris": uri, "suites": suite, "components": components.strip()}
        for option in (options or "").strip().strip("[]").split():
            key, _, value = option.partition("=")
            names = {"arch": "architectures", "signed-by": "signed-by", "trusted": "trusted"}
            if key in names:
                fields[names[key]] = value.replace(",", " ")
        stanzas.append(fields)
    return stanzas


def binary_sources():
    etc = Path("/etc/apt")
    stanzas = []
    plain = [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]
    for path in plain:
        if path.is_file():
            stanzas += source_entries_of(path.read_text(errors="replace"), deb822=False)
    for path in sorted(etc.glob("sources.list.d/*.sources")):
        stanzas += source_entries_of(path.read_text(errors="replace"), deb822=True)
    return stanzas


def repositories_with(package):
    """The base URIs from which a binary package is available now."""
    policy = subprocess.run(["apt-cache", "policy", package], stdout=subprocess.PIPE, text=True, check=False)
    return set(re.findall(r"^\s+\d+ (\w+:\S+) ", policy.stdout, re.MULTILINE))


def stanza_text(fields, kind):
    lines = [f"Types: {kind}", f"URIs: {fields['uris']}", f"Suites: {fields['suites']}"]
    if fields.get("components"):
        lines.append(f"Components: {fields['components']}")
    for key in ("signed-by", "trusted", "check-valid-until"):
        if key in fields:
            lines.append(f"{key.title()}: {fields[key]}")
    return "\n".join(lines)


def source_list_text(stanzas, uris):
    """Source-package stanzas for those of the binary entries that point to one of `uris` (all, if none does)."""
    def base(uri):
        return uri.rstrip("/")

    wanted = {base(uri) for uri in uris}
    chosen = [s for s in stanzas if any(base(u) in wanted for u in s["uris"].split())] or stanzas
    return "\n\n".join(stanza_text(fields, "deb-src") for fields in chosen) + "\n"


def fetch_source(package, witness, version_prefix):
    """Downloads a source package (apt checks it against the signed index) and unpacks it in the cache."""
    target = SOURCES / package
    SOURCES.mkdir(parents=True, exist_ok=True)
    log = CACHE / "sources.log"
    with tempfile.TemporaryDirectory(prefix="cero-apt-") as scratch_name:
        scratch = Path(scratch_name)
        (scratch / "lists" / "partial").mkdir(parents=True)
        (scratch / "parts").mkdir()
        (scratch / "download").mkdir()
        if os.geteuid() == 0:
            # apt downloads as its own user when it runs as root.
            for path in (scratch, scratch / "download"):
                path.chmod(0o755)
        uris = repositories_with(witness)
        if not uris:
            run_step("updating the package lists", as_root(["apt-get", "update"]), log)
            uris = repositories_with(witness)
        (scratch / "parts" / "cero.sources").write_text(source_list_text(binary_sources(), uris))
        options = []
        for option in (
            "Dir::Etc::SourceList=/dev/null", f"Dir::Etc::SourceParts={scratch}/parts",
            f"Dir::State::Lists={scratch}/lists", f"Dir::Cache::PkgCache={scratch}/pkgcache.bin",
            f"Dir::Cache::SrcPkgCache={scratch}/srcpkgcache.bin", "APT::Sandbox::User=root",
            "Acquire::Languages=none", "Acquire::Retries=3",
        ):
            options += ["-o", option]
        run_step(f"reading the index of source packages for {package}", ["apt-get", *options, "update"], log)
        run_step(
            f"fetching the source of {package}",
            ["apt-get", *options, "source", "--only-source", "--download-only", package],
            log, cwd=scratch / "download",
        )
        descriptions = list((scratch / "download").glob("*.dsc"))
        if not descriptions:
            raise Failure(f"apt-get source gave no description file for {package}; see {log}")
        version = re.search(r"^Version:\s*(\S+)", descriptions[0].read_text(), re.MULTILINE).group(1)
        if not re.match(r"(\d+:)?" + re.escape(version_prefix), version):
            raise Failure(
                f"the distribution offers {package} {version}, and Cero builds with {version_prefix}*: "
                "use Debian 12, or adapt LIBRARY_SOURCES in tools/lib/host.py"
            )
        run_step(
            f"unpacking the source of {package}",
            ["dpkg-source", "--no-check", "-x", str(descriptions[0]), str(scratch / "tree")], log,
        )
        (scratch / "tree" / ".cero-version").write_text(version + "\n")
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(str(scratch / "tree"), target)


def ensure_sources():
    """Makes every library source tree present under .cache/sources/NAME."""
    for package, (witness, prefix) in LIBRARY_SOURCES.items():
        if not (SOURCES / package / ".cero-version").exists():
            fetch_source(package, witness, prefix)


if __name__ == "__main__":
    ensure_sources()
