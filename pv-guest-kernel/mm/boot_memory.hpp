// SPDX-License-Identifier: BSD-2-Clause
// From start-of-day memory to the direct map, the page array and a filled allocator.
#pragma once

#include "mm/layout.hpp"

#include <cero/abi/start_info.h>

namespace kernel {

/// `boot_stack_top`: rsp at entry; the builder's stack is the last of its data. Panics when memory
/// is too small to start.
void init_memory(const cero_start_info& info, std::uintptr_t boot_stack_top);

/// Machine address of the direct map's entry for a frame: where its access rights are changed.
[[nodiscard]] std::uint64_t direct_pte_machine(GuestFrame frame) noexcept;
/// The entry that maps the frame there with the given rights.
[[nodiscard]] PteValue direct_pte(GuestFrame frame, bool writable) noexcept;

/// Size of every array by frame: frames that the domain has or may get (see balloon.hpp).
[[nodiscard]] std::uint64_t total_frames() noexcept;
[[nodiscard]] std::uint64_t frames_at_start() noexcept;
/// In the physical-to-machine list: no memory is behind this frame now.
inline constexpr std::uint64_t no_machine_frame = ~std::uint64_t{0};
/// Contents of the initial level-4 table, which every process' kernel table repeats in the kernel
/// slots.
[[nodiscard]] PteValue* kernel_root() noexcept;
void set_p2m(GuestFrame frame, MachineFrame machine) noexcept;
/// Makes the image's code and constants read-only.
void protect_image() noexcept;
/// Returns frames [first, first + count) to the allocator (initial ramdisk).
void release_boot_frames(GuestFrame first, std::uint64_t count) noexcept;

} // namespace kernel
