// SPDX-License-Identifier: BSD-2-Clause
// Descriptor pages: GDT and LDT content that cannot raise privilege.
#include <core/paging/descriptors.hpp>

#include <arch/api/cpu.hpp>
#include <arch/api/hooks.hpp>
#include <arch/api/tlb.hpp>
#include <core/domain/domain.hpp>
#include <core/paging/mmu_ops.hpp>

namespace cero {

namespace {

constexpr unsigned descriptors_per_page = 512;
constexpr std::uint64_t descriptor_present = 1ull << 47;
constexpr std::uint64_t descriptor_dpl = 3ull << 45;
constexpr std::uint64_t not_system = 1ull << 44; ///< code or data
constexpr std::uint64_t system_type = 0xfull << 40;

using Descriptors = Atomic<std::uint64_t>[descriptors_per_page];

bool fix_page(MachineFrame frame) noexcept {
    Descriptors& descriptors = *arch::frame_ptr<Descriptors>(frame);
    for (auto& slot : descriptors) {
        const std::uint64_t before = slot.load(Order::relaxed);
        std::uint64_t after = before;
        if (!fix_descriptor(after)) return false;
        if (after != before) slot.store(after, Order::relaxed);
    }
    return true;
}

} // namespace

bool fix_descriptor(std::uint64_t& descriptor) noexcept {
    if ((descriptor & descriptor_present) == 0) return true;
    if ((descriptor & not_system) == 0 && (descriptor & system_type) != 0)
        return false; // LDT, TSS, and every kind of gate
    descriptor |= descriptor_dpl;
    return true;
}

Status get_descriptor_frame(Domain& domain, MachineFrame frame) noexcept {
    if (!frame_exists(frame)) return Errno::inval;
    constexpr std::uint64_t both = FrameWord::one_ref + FrameWord::one_type_ref;
    Atomic<std::uint64_t>& word = frame_word(frame);
    std::uint64_t seen = word.load(Order::relaxed);
    for (;;) {
        const FrameWord now{seen};
        if (!now.is_owned_by(domain.slot) || !now.is(FrameWord::allocated)) return Errno::inval;
        if (now.is_full()) return Errno::nomem;
        // Validated stays true without references: only another use of the frame ends it.
        if (now.type() == FrameType::descriptors && now.is(FrameWord::validated)) {
            if (word.compare_exchange(seen, now.plus(both).raw(), Order::acquire)) return {};
            continue;
        }
        if (now.type() == FrameType::descriptors && now.is(FrameWord::locked)) {
            arch::service_remote_requests();
            arch::relax();
            seen = word.load(Order::relaxed);
            continue;
        }
        if (now.type_refs() != 0 || now.is(FrameWord::locked | FrameWord::partial)) return Errno::busy;
        const FrameWord next =
            now.with_type(FrameType::descriptors).without(FrameWord::validated).with(FrameWord::locked).plus(both);
        if (!word.compare_exchange(seen, next.raw(), Order::acq_rel)) continue;
        if (now.type() == FrameType::writable) arch::tlb_flush(domain.dirty_mask());
        if (fix_page(frame)) {
            word.fetch_add(FrameWord::validated - FrameWord::locked, Order::release);
            return {};
        }
        if (frame_drop(frame, FrameWord::locked + both)) detail::free_frame(frame);
        return Errno::inval;
    }
}

void put_descriptor_frame(MachineFrame frame) noexcept {
    if (frame_drop(frame, FrameWord::one_ref + FrameWord::one_type_ref)) detail::free_frame(frame);
}

Status update_descriptor(Vcpu& current, std::uint64_t address, std::uint64_t descriptor) noexcept {
    const MachineFrame frame = to_frame(PhysAddr{address});
    if ((address & 7) != 0 || !frame_exists(frame) || !fix_descriptor(descriptor)) return Errno::inval;
    Domain& domain = *current.domain;
    const FrameType type = frame_look(frame).type();
    if (type == FrameType::shared) return Errno::inval;
    const bool live = type == FrameType::descriptors;
    if (const Status held = live ? get_descriptor_frame(domain, frame) : frame_get_writable(frame, domain.slot); !held)
        return Errno::inval;
    const unsigned index = (address >> 3) & (descriptors_per_page - 1);
    (*arch::frame_ptr<Descriptors>(frame))[index].store(descriptor, Order::release);
    if (live)
        put_descriptor_frame(frame);
    else
        frame_put_writable(frame);
    return {};
}

namespace core {

Result<MachineFrame> ldt_page(Vcpu& vcpu, unsigned page) noexcept {
    const GuestVirt address{vcpu.arch.ldt_base + (std::uint64_t{page} << page_shift)};
    const MappedEntry mapping = look_up(vcpu.kernel_root, address);
    if (!mapping.entry.is_present()) return Errno::fault;
    TRY(get_descriptor_frame(*vcpu.domain, mapping.entry.frame()));
    return mapping.entry.frame();
}

} // namespace core
} // namespace cero
