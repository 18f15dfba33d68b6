// SPDX-License-Identifier: BSD-2-Clause
// The frame table: ownership of machine frames, general and writable references. One atomic word
// per frame below arch::max_frame(). Frames that are not RAM, or beyond, belong to slot_io and are
// not counted.
#pragma once

#include <arch/api/memory.hpp>
#include <core/frame/frame_word.hpp>
#include <core/frame/memory_account.hpp>

#include <cero/lib/atomic.hpp>

#include <optional>

namespace cero {

#ifdef CERO_HOST_TEST
extern Atomic<std::uint64_t>* host_frame_table;
#endif
/// arch::max_frame(), at hand for the fast paths; constant after frame_init().
extern std::uint64_t frame_limit;

/// Boot: fills the frame table, and gives the free RAM to the allocator.
void frame_init() noexcept;

/// True for RAM and for holes below the end of RAM.
inline bool frame_exists(MachineFrame frame) noexcept { return frame.raw() < frame_limit; }
/// The word of a frame; precondition: frame_exists(frame).
inline Atomic<std::uint64_t>& frame_word(MachineFrame frame) noexcept {
#ifdef CERO_HOST_TEST
    return host_frame_table[frame.raw()];
#else
    return reinterpret_cast<Atomic<std::uint64_t>*>(arch::frame_table_base)[frame.raw()];
#endif
}
/// One look at a frame; an unallocated frame of slot_io for one that does not exist.
inline FrameWord frame_look(MachineFrame frame) noexcept {
    return FrameWord{frame_exists(frame) ? frame_word(frame).load(Order::relaxed) : FrameWord::owner_bits(slot_io)};
}

namespace detail {
/// The last reference of a frame is gone: flushes its owner's TLBs and gives it to the allocator.
void free_frame(MachineFrame frame) noexcept;
/// The rest of frame_get_writable: other labels, failures.
Status get_writable_slow(MachineFrame frame, DomainSlot owner, std::uint64_t amount) noexcept;
} // namespace detail

/// Takes a general reference on an allocated or shared frame of `owner`. inval: not the owner's;
/// nomem: the count is full.
inline Status frame_get(MachineFrame frame, DomainSlot owner) noexcept {
    if (!frame_exists(frame)) [[unlikely]]
        return Errno::inval;
    Atomic<std::uint64_t>& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    for (;;) {
        const FrameWord now{seen};
        if (!now.is_owned_by(owner) || !now.may_be_referenced()) [[unlikely]]
            return Errno::inval;
        if (now.is_full()) [[unlikely]]
            return Errno::nomem;
        if (word.compare_exchange(seen, seen + FrameWord::one_ref, Order::acquire)) [[likely]]
            return {};
    }
}

/// Drops a general reference and tells whether it was the last: the caller must then free the
/// frame.
[[nodiscard]] inline bool frame_drop(MachineFrame frame, std::uint64_t amount) noexcept {
    const std::uint64_t before = frame_word(frame).fetch_sub(amount, Order::acq_rel);
    return ((before - amount) & FrameWord::refs_mask) == 0;
}
/// Drops a general reference; the frame is freed with its last one (flushing its owner's TLBs).
inline void frame_put(MachineFrame frame) noexcept {
    if (frame_drop(frame, FrameWord::one_ref)) [[unlikely]]
        detail::free_frame(frame);
}

/// Takes a reference and a writable type reference with one exchange (`times` of both). busy: in
/// use as another type; inval, nomem: as frame_get().
inline Status frame_get_writable(MachineFrame frame, DomainSlot owner, unsigned times = 1) noexcept {
    const std::uint64_t amount = times * (FrameWord::one_ref + FrameWord::one_type_ref);
    if (!frame_exists(frame)) [[unlikely]]
        return Errno::inval;
    Atomic<std::uint64_t>& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    const std::uint64_t key = FrameWord::writable_key(owner);
    while ((seen >> FrameWord::type_shift) == key && !FrameWord{seen}.is_full()) [[likely]] {
            if (word.compare_exchange(seen, seen + amount, Order::acquire)) [[likely]]
                return {};
        }
    return detail::get_writable_slow(frame, owner, amount);
}
inline void frame_put_writable(MachineFrame frame, unsigned times = 1) noexcept {
    if (frame_drop(frame, times * (FrameWord::one_ref + FrameWord::one_type_ref))) [[unlikely]]
        detail::free_frame(frame);
}

/// Collects frames whose last reference is gone, to free them with one flush of their owner's TLBs.
class FreeBatch {
public:
    explicit FreeBatch(Domain& owner) noexcept : owner_{owner} {}
    FreeBatch(const FreeBatch&) = delete;
    FreeBatch& operator=(const FreeBatch&) = delete;
    ~FreeBatch() { flush(); }
    void add(MachineFrame frame) noexcept {
        if (count_ == capacity) flush();
        frames_[count_++] = frame;
    }
    void flush() noexcept;

private:
    static constexpr unsigned capacity = 64;
    Domain& owner_;
    unsigned count_{};
    MachineFrame frames_[capacity];
};
/// Ends the domain's allocation of a frame: it takes no new references and is freed when the
/// present ones are gone. inval: not an allocated frame of the domain.
Status frame_release_allocation(MachineFrame frame, Domain& owner, FreeBatch& batch) noexcept;
/// As above for 2^order frames; false when one of them was refused, which ends it.
bool frame_release_block(MachineFrame first, unsigned order, Domain& owner, FreeBatch& batch) noexcept;
/// False while more frames are in use that the domain has given back than is tolerable: it gets no new ones then, since
/// it would get round its limit.
[[nodiscard]] bool lets_go(const Domain& domain) noexcept;

/// Exchange of memory in two steps: seized frames take no new references, and either go back to
/// ordinary allocation or are released. inval: not an allocated frame of the domain.
Status frame_seize(MachineFrame frame, Domain& owner) noexcept;
void frame_restore_seized(MachineFrame frame) noexcept;
void frame_release_seized(MachineFrame frame, Domain& owner, FreeBatch& batch) noexcept;

/// A zeroed hypervisor page that `domain` may map writable (shared_info, grant table frames). The
/// hypervisor's own reference is dropped with unshare_frame().
Result<MachineFrame> share_frame_with(Domain& domain) noexcept;
inline void unshare_frame(MachineFrame frame) noexcept { frame_put_writable(frame); }

/// 2^order zeroed pages for the hypervisor's own use (no guest can map them).
Result<MachineFrame> allocate_hypervisor_frames(unsigned order) noexcept;
void free_hypervisor_frames(MachineFrame first, unsigned order) noexcept;
inline Result<MachineFrame> allocate_hypervisor_frame() noexcept { return allocate_hypervisor_frames(0); }
inline void free_hypervisor_frame(MachineFrame frame) noexcept { free_hypervisor_frames(frame, 0); }

struct AllocateFlags {
    std::uint8_t address_bits{0}; ///< 0 = anywhere
    bool zero{true};              ///< false: for the control domain, which may see old contents
};
/// Gives the domain 2^order frames, contiguous and aligned, each with its allocation reference.
/// nomem: over the domain's limit, or no such block.
Result<MachineFrame> allocate_frames(Domain& domain, unsigned order, AllocateFlags flags = {}) noexcept;
inline Result<MachineFrame> allocate_frame(Domain& domain) noexcept { return allocate_frames(domain, 0); }
/// Boot: frames outside the allocator (boot modules) become the domain's, as allocate_frames()
/// would give them.
void adopt_frames(Domain& domain, MachineFrame first, std::uint64_t count) noexcept;

/// One stretch of a dying domain's memory release: pins, partial tables, allocations. Call until it
/// returns ok; restart: it stopped at a preemption point. `cursor` starts as 0. Preconditions: no
/// vCPU of the domain runs; roots, descriptor pages and grant mappings are dropped.
Status relinquish_domain_memory(Vcpu& current, Domain& domain, std::uint64_t& cursor) noexcept;

/// Recomputes every count from the page tables, roots, grants and allocations, and logs each frame
/// that disagrees. Returns how many do; nothing when there is no memory for the counts. All domains
/// must be quiet (host tests).
std::optional<std::uint64_t> frame_audit() noexcept;
/// The same on a running machine: stops all CPUs meanwhile (milliseconds). -ENOMEM; -EBUSY: a CPU
/// was in the middle of a long operation each time.
Result<std::uint64_t> frame_audit_stopped() noexcept;

} // namespace cero
