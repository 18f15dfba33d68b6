# SPDX-License-Identifier: BSD-2-Clause
"""tools/debian-image: a Debian 12 root file system on a disk image, with its kernel and initial ramdisk."""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from host import as_root, binary_sources, ensure_packages, stanza_text
from paths import CACHE, LIB
from progress import Failure, run_step, say

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PASSWORD = "cero"       # of root, on the console; ssh takes the key alone
SIZE_MIB = 4096
OFFLINE_PACKAGES = "hello"
DEBIAN = CACHE / "debian"
RECIPE = LIB / "debian"
PRODUCTS = ("vmlinuz", "initrd", "root.img", "versions.txt")

DESCRIPTION = """\
Makes .cache/debian/root.img (ext4, sparse), vmlinuz and initrd with debootstrap, out of the distribution that this
machine's apt is configured for. Does nothing when they are there and their recipe (tools/lib/debian) is the same.
Needs root (asks sudo), about five minutes, and 4 GiB of disk. Login on hvc0: root, password cero. ssh: the key
.cache/debian/ssh_key."""


def recipe_hash():
    """Over everything that decides what the image holds, but the mirror's state."""
    digest = hashlib.sha256(f"{SUITE} {PASSWORD} {SIZE_MIB} {OFFLINE_PACKAGES}".encode())
    for path in sorted(RECIPE.rglob("*")):
        if path.is_file() and path.name != "debian.cfg":  # which goes beside the image, not into it
            digest.update(str(path.relative_to(RECIPE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_current():
    stamp = DEBIAN / "recipe"
    return (stamp.exists() and stamp.read_text().strip() == recipe_hash()
            and all((DEBIAN / name).exists() for name in (*PRODUCTS, "ssh_key")))


def read_packages():
    lines = (RECIPE / "packages.txt").read_text().splitlines()
    return [word for word in (line.split("#")[0].strip() for line in lines) if word]


def distribution_sources():
    """Of this machine's apt configuration, what serves our suite: stanzas, the mirror of the suite itself first."""
    def suites(stanza):
        return stanza["suites"].split()

    chosen = [stanza for stanza in binary_sources()
              if any(suite == SUITE or suite.startswith(SUITE + "-") for suite in suites(stanza))
              and "main" in stanza.get("components", "").split()]
    chosen.sort(key=lambda stanza: SUITE not in suites(stanza))
    if not chosen or SUITE not in suites(chosen[0]):
        raise Failure(f"this machine's apt has no source for Debian's {SUITE}: add one to /etc/apt/sources.list, "
                      f"as in `deb http://MIRROR/debian {SUITE} main`")
    return chosen


def apt_acquire_settings():
    """Proxies, retries and the like: how this machine reaches its sources."""
    dump = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line for line in dump.splitlines() if line.startswith("Acquire::") and not line.endswith('""" ;')]


def proxy_environment(settings):
    environment = {}
    for line in settings:
        for scheme in ("http", "https"):
            if line.lower().startswith(f"acquire::{scheme}::proxy "):
                value = line.split('"')[1]
                if value and value != "DIRECT":
                    environment[f"{scheme}_proxy"] = value
    return environment


def ensure_ssh_key():
    key = DEBIAN / "ssh_key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "cero", "-f", str(key)], check=True)
    return key


def write_apt_files(scratch, stanzas, settings):
    """What the file system under construction borrows of this machine's apt."""
    (scratch / "build.sources").write_text("\n\n".join(stanza_text(stanza, "deb") for stanza in stanzas) + "\n")
    (scratch / "build.conf").write_text("\n".join(settings) + "\n")
    for stanza in stanzas:
        key = Path(stanza.get("signed-by", "/"))
        if key.is_file():
            target = scratch / "keys" / str(key).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(key, target)


def build():
    stanzas = distribution_sources()
    settings = apt_acquire_settings()
    mirror = stanzas[0]["uris"].split()[0]
    keyring = next((key for key in (stanzas[0].get("signed-by", ""), KEYRING) if key and Path(key).is_file()), None)
    if keyring is None:
        raise Failure(f"{KEYRING} is missing, so the distribution's signature cannot be checked: "
                      "install debian-archive-keyring")
    log = CACHE / "debian-image.log"
    log.unlink(missing_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="debian-", dir=CACHE))
    try:
        scratch.chmod(0o755)
        write_apt_files(scratch, stanzas, settings)
        variables = {
            **proxy_environment(settings), "SUITE": SUITE, "MIRROR": mirror, "KEYRING": keyring,
            "INCLUDE": "ca-certificates" if mirror.startswith("https") else "", "PACKAGES": " ".join(read_packages()),
            "OFFLINE": OFFLINE_PACKAGES, "FILES": RECIPE / "files", "SCRATCH": scratch, "OUTPUT": scratch,
            "OWNER": f"{os.getuid()}:{os.getgid()}", "SIZE_MIB": SIZE_MIB, "PASSWORD": PASSWORD,
            "PUBLIC_KEY": f"{ensure_ssh_key()}.pub", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        words = [f"{name}={value}" for name, value in variables.items()]
        run_step("making the Debian disk (about five minutes, once)",
                 as_root(["env", *words, "unshare", "--mount", "sh", str(RECIPE / "root.sh")]), log)
        for name in PRODUCTS:
            (scratch / name).replace(DEBIAN / name)
    finally:
        subprocess.run(as_root(["rm", "-rf", "--one-file-system", str(scratch)]), check=False)
    (DEBIAN / "recipe").write_text(recipe_hash() + "\n")


def ensure_debian():
    """The directory with vmlinuz, initrd, root.img, ssh_key; made first when it is missing or of another recipe."""
    if not is_current():
        ensure_packages(("linux",))
        DEBIAN.mkdir(parents=True, exist_ok=True)
        (DEBIAN / "recipe").unlink(missing_ok=True)
        build()
    return DEBIAN


def main():
    parser = argparse.ArgumentParser(prog="tools/debian-image", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--force", action="store_true", help="make it anew, with the packages of today")
    options = parser.parse_args()
    try:
        if options.force:
            (DEBIAN / "recipe").unlink(missing_ok=True)
        print(ensure_debian())
    except (Failure, OSError, subprocess.CalledProcessError) as error:
        say(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
