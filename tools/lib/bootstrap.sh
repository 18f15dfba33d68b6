# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the front ends: makes sure that Python is there; everything else is done in Python.
if ! command -v python3 >/dev/null 2>&1; then
    echo "cero: installing python3" >&2
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || {
            echo "cero: python3 is missing, and there is neither root nor sudo to install it" >&2
            exit 2
        }
        as_root=sudo
    fi
    $as_root apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends python3 >&2
fi
