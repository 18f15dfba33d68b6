// SPDX-License-Identifier: BSD-2-Clause
// dom0's init: mounts, services and their supervision, network, autostart, login shell.
#pragma once

namespace cero::init {

/// Program entry of `/init`.
int init_main(int argc, char** argv);

} // namespace cero::init
