# SPDX-License-Identifier: BSD-2-Clause
"""Mixed random reads and writes with queue depth 32 on a raw disk; every written block is read back and verified."""

import json

from machine import check

TITLE = "fio --verify, random mix, queue depth 32"
ORDER = 40

GIB = 1 << 30


def run(linux, short):
    size = GIB // 16 if short else 2 * GIB  # half of it is written
    output = linux.run(
        f"fio --name=mix --filename=/dev/xvdb --direct=1 --ioengine=libaio --iodepth=32 --rw=randrw --size={size} "
        "--bsrange=4k-128k --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=1 --output-format=json "
        "--output=/tmp/fio.json && cat /tmp/fio.json", 240 if short else 3600)
    job = json.loads(output[output.index("{"):output.rindex("}") + 1])["jobs"][0]
    read, written = job["read"]["io_bytes"], job["write"]["io_bytes"]
    check(job["error"] == 0 and job.get("total_err", 0) == 0, f"fio counts errors: {job['error']}")
    check(read + written >= size, f"fio moved {read + written} bytes only")
    check(read >= size * 9 // 10, f"fio read {read} bytes: it did not verify what it wrote")
    return f"{written >> 20} MiB written and verified, {read >> 20} MiB read, 0 errors"
