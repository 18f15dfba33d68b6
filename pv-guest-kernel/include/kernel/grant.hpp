// SPDX-License-Identifier: BSD-2-Clause
// Grant references: pages lent to and borrowed from other domains (version 1 tables).
#pragma once

#include <kernel/types.hpp>

namespace kernel::grant {

using Ref = std::uint32_t;
using Handle = std::uint32_t;
inline constexpr Ref invalid_ref = ~Ref{0};
inline constexpr Handle invalid_handle = ~Handle{0};

/// Lends a frame. nospc: the table is full.
[[nodiscard]] Result<Ref> offer(DomainId to, MachineFrame frame, bool readonly) noexcept;
/// Takes a frame back; busy while the other side still uses it (then the reference stays valid).
[[nodiscard]] Status withdraw(Ref ref) noexcept;
/// True while the other side has it mapped or copies from it.
[[nodiscard]] bool in_use(Ref ref) noexcept;
/// As withdraw(); a reference still in use, and `page` (a page from alloc_pages(0), or null), are
/// released in the background when the other side lets go.
void withdraw_deferred(Ref ref, void* page) noexcept;

/// One mapping. Inputs first; `status` is a grant status (0 ok, negative), `handle` valid when it
/// is 0.
struct MapRequest {
    DomainId domain;
    Ref ref;
    bool readonly;
    void* address;             ///< from reserve_kernel_pages(); ignored when pte_machine is set
    std::uint64_t pte_machine; ///< machine address of the entry to write, or 0
    std::int16_t status;
    Handle handle;
    std::uint64_t bus_address; ///< machine address of the mapped frame, for devices
};
struct UnmapRequest {
    void* address;
    std::uint64_t pte_machine;
    Handle handle;
    std::int16_t status;
};
/// A copy inside one page on each side; a side is a reference of `domain`, or an own frame (domain
/// self).
struct CopySide {
    DomainId domain;
    bool is_ref;
    Ref ref;
    MachineFrame frame;
    std::uint16_t offset;
};
struct CopyRequest {
    CopySide source;
    CopySide target;
    std::uint16_t length;
    std::int16_t status;
};

/// Each issues as few hypercalls as possible and fills every `status`; the result is an error only
/// if the hypercall itself failed. Any context.
[[nodiscard]] Status map(MapRequest* requests, std::size_t count) noexcept;
[[nodiscard]] Status unmap(UnmapRequest* requests, std::size_t count) noexcept;
[[nodiscard]] Status copy(CopyRequest* requests, std::size_t count) noexcept;

} // namespace kernel::grant
