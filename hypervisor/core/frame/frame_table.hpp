// SPDX-License-Identifier: BSD-2-Clause
// The frame table: general references and ownership of machine frames. One atomic word per frame
// below arch::max_frame(); frames that are not RAM, or beyond, belong to slot_io and are not
// counted.
#pragma once

#include <core/frame/frame_word.hpp>
#include <core/frame/memory_account.hpp>

#include <cero/lib/atomic.hpp>

namespace cero {

/// The word of a frame; precondition: frame_exists(frame).
Atomic<std::uint64_t>& frame_word(MachineFrame frame) noexcept;
/// True for RAM and for holes below the end of RAM.
bool frame_exists(MachineFrame frame) noexcept;
/// One look at a frame; slot_io for one that does not exist.
FrameWord frame_look(MachineFrame frame) noexcept;

/// Takes a general reference on an allocated frame of `owner`. inval: not the owner's;
/// nomem: the count is full.
Status frame_get(MachineFrame frame, DomainSlot owner) noexcept;
/// Drops a general reference; the frame is freed with its last one (flushing its owner's TLBs).
void frame_put(MachineFrame frame) noexcept;

/// Takes a reference and a writable type reference with one exchange. busy: in use as another type.
Status frame_get_writable(MachineFrame frame, DomainSlot owner) noexcept;
void frame_put_writable(MachineFrame frame) noexcept;

/// Ends the domain's allocation of a frame: it can take no new references and is freed when the
/// present ones are gone. inval: not an allocated frame of the domain.
Status frame_release_allocation(MachineFrame frame, Domain& owner) noexcept;

/// A zeroed hypervisor page that `domain` may map writable (shared_info, grant table frames). The
/// hypervisor's own reference is dropped with unshare_frame.
Result<MachineFrame> share_frame_with(Domain& domain) noexcept;
void unshare_frame(MachineFrame frame) noexcept;

/// Zeroed page for the hypervisor's own use (not visible to any guest).
Result<MachineFrame> allocate_hypervisor_frame() noexcept;
void free_hypervisor_frame(MachineFrame frame) noexcept;

/// Gives the domain 2^order frames, contiguous and aligned, each with its allocation reference.
/// nomem: over the domain's limit, or no such block. `address_bits` 0 = anywhere.
/// The frames are zeroed unless the domain is privileged and `scrub` is false.
struct AllocateFlags {
    std::uint8_t address_bits{0};
    bool scrub{true};
};
Result<MachineFrame> allocate_frames(Domain& domain, unsigned order,
                                     AllocateFlags flags = {}) noexcept;
inline Result<MachineFrame> allocate_frame(Domain& domain) noexcept {
    return allocate_frames(domain, 0);
}

/// One step of a dying domain's memory release: allocation references, partial tables, pins. Call
/// until it returns ok; restart: it stopped at a preemption point. `cursor` starts as 0.
/// Precondition: no vCPU of the domain runs, roots and descriptor pages are dropped.
Status relinquish_domain_memory(Vcpu& current, Domain& domain, std::uint64_t& cursor) noexcept;

/// Recomputes every count from the page tables, roots, grants and allocations, and logs each frame
/// that disagrees. Returns how many do. All domains must be quiet (debug key, host tests).
std::uint64_t frame_audit() noexcept;

} // namespace cero
