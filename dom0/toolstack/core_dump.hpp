// SPDX-License-Identifier: BSD-2-Clause
// Core files of domains: what the kernel of a domain sees, as an ELF core that gdb reads.
#pragma once

#include "toolstack/domains.hpp"

#include <string>
#include <vector>

namespace cero::toolstack {

struct CoreDump {
    std::uint64_t pages{};    ///< in the file, 4 KiB each
    std::uint64_t mappings{}; ///< PT_LOAD headers: runs of addresses
    unsigned vcpus{};         ///< threads of the core
    bool is_whole{true}; ///< false: page tables map more than a sane kernel's; the rest is left out
};

/// Writes `path`: the domain's pages once each, a PT_LOAD for each run of virtual addresses that
/// the page tables of its first started vCPU map to them (a
/// table that is there many times counts twice), and an NT_PRSTATUS for each started vCPU.
/// The domain stands still meanwhile. An existing file is replaced only with `replace`. Throws
/// Error, and then no new file is left. Source of the format: ELF-64, System V ABI.
CoreDump dump_core(Machine& machine, cero_domid domain, const std::string& path, bool replace);

/// Room for a core: what the file system has free, and in a file system that lives in memory at
/// most half of the memory that is free or in cores already (`in_cores` of the same directory),
/// less these: all cores together never starve the control domain.
struct Room {
    std::uint64_t bytes{};
    bool is_memory{};
};
[[nodiscard]] Room room_for_core(std::uint64_t type, std::uint64_t blocks, std::uint64_t bytes_free,
                                 std::uint64_t memory_free, std::uint64_t in_cores) noexcept;

/// Where the daemon writes cores of a domain: what its configuration says, else the file system
/// labelled "data" when `mounts` (text of /proc/mounts) has it, else the control domain's memory.
[[nodiscard]] std::string core_directory(const config::DomainConfig& config,
                                         std::string_view mounts);

/// A name for the core of a domain that has crashed: DIRECTORY/DATE-TIME-NAME.ID.core. Makes the
/// directory, and removes what a daemon that died left half written in it.
[[nodiscard]] std::string core_file(const std::string& directory, cero_domid domain,
                                    const std::string& name);

/// Removes all but the newest `count` of the files that core_file() has named for domains of this
/// name; what was removed.
std::vector<std::string> remove_old_cores(const std::string& directory, const std::string& name,
                                          std::size_t count);

} // namespace cero::toolstack
