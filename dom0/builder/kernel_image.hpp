// SPDX-License-Identifier: BSD-2-Clause
// KernelImage: what the headers and notes of a PV kernel's ELF file say, checked.
#pragma once

#include "builder/image_source.hpp"

#include <optional>
#include <string>
#include <vector>

namespace cero::builder {

struct Segment {
    std::uint64_t file_offset;
    std::uint64_t file_size;
    std::uint64_t memory_size;
    std::uint64_t physical; ///< relative to PFN 0: p_paddr minus PADDR_OFFSET
};

/// Invariants after parse_kernel: segments lie within the file, below 1 GiB, ascending, not
/// overlapping; entry and hypercall page lie inside [start, end).
struct KernelImage {
    std::uint64_t entry{};
    std::uint64_t virtual_base{};
    std::optional<std::uint64_t> hypercall_page; ///< a virtual address
    std::optional<std::uint64_t> p2m_base;       ///< INIT_P2M
    bool ramdisk_by_frame{};                     ///< MOD_START_PFN
    std::string guest_os;
    std::string guest_version;
    std::vector<Segment> segments;
    std::uint64_t start{}; ///< first physical byte, page aligned
    std::uint64_t end{};   ///< past the last one, page aligned
};

/// Throws Error when this is not a 64-bit PV kernel. `path` is for messages.
[[nodiscard]] KernelImage parse_kernel(const ImageSource& source, const std::string& path);

} // namespace cero::builder
