// SPDX-License-Identifier: BSD-2-Clause
// The auditor: recomputes the counts of all frames from what holds references, and compares.
#include <core/frame/frame_allocator.hpp>
#include <core/grant/grant_state.hpp>
#include <core/paging/page_type.hpp>

#include <arch/api/console.hpp>
#include <arch/api/cpu.hpp>
#include <core/domain/domain.hpp>

#include <cstring>

namespace cero {

namespace {

constexpr unsigned max_logged = 16;

struct Count {
    std::uint32_t refs;
    std::uint32_t type_refs;
};

/// Expected counts of `room` frames at a time, in a block of free memory.
class Audit {
public:
    Audit(Count* counts, std::uint64_t room) noexcept : counts_{counts}, room_{room} {}

    std::uint64_t run() noexcept {
        std::memset(owned_, 0, sizeof owned_);
        for (first_ = 0; first_ < frame_limit; first_ += room_) count_and_compare();
        for (unsigned n = first_domain_slot; n <= last_domain_slot; ++n)
            if (Domain* domain = domain_in_slot(DomainSlot{static_cast<std::uint16_t>(n)})) compare_account(*domain);
        return wrong_;
    }

private:
    /// A reference may come from anywhere, so each part looks at every source.
    void count_and_compare() noexcept {
        for (std::uint64_t n = 0; n < room_; ++n) counts_[n] = {};
        for (std::uint64_t n = 0; n < frame_limit; ++n) count_frame(MachineFrame{n});
        for (unsigned n = first_domain_slot; n <= last_domain_slot; ++n)
            if (Domain* domain = domain_in_slot(DomainSlot{static_cast<std::uint16_t>(n)})) count_domain(*domain);
        for (std::uint64_t n = 0; n < room_ && first_ + n < frame_limit; ++n) compare(MachineFrame{first_ + n});
    }
    void add(MachineFrame frame, std::uint32_t refs, std::uint32_t type_refs) noexcept {
        if (!frame_exists(frame) || frame.raw() - first_ >= room_) return;
        counts_[frame.raw() - first_].refs += refs;
        counts_[frame.raw() - first_].type_refs += type_refs;
    }
    static bool is_domain_slot(DomainSlot slot) noexcept {
        return slot.raw() >= first_domain_slot && slot.raw() <= last_domain_slot;
    }

    /// What the frame's own state holds: its allocation, pin, partial state, entries.
    void count_frame(MachineFrame frame) noexcept {
        const FrameWord word = frame_look(frame);
        if (!is_domain_slot(word.owner())) return;
        add(frame, (word.is(FrameWord::allocated) ? 1u : 0u) + (word.is(FrameWord::partial) ? 1u : 0u), 0);
        if (word.is(FrameWord::pinned)) add(frame, 1, 1);
        if (!is_table(word.type())) return;
        const unsigned end = word.is(FrameWord::partial)     ? word.progress()
                             : word.is(FrameWord::validated) ? entries_per_table
                                                             : 0;
        for (unsigned n = 0; n < end; ++n)
            count_entry(Pte{table_entries(frame)[n].load(Order::relaxed)}, word.type(), n);
    }
    void count_entry(Pte entry, FrameType level, unsigned index) noexcept {
        if (!entry.is_present() || (level == FrameType::l4 && is_hypervisor_slot(index))) return;
        const bool typed = level != FrameType::l1 || entry.is_writable();
        if (is_domain_slot(frame_look(entry.frame()).owner())) add(entry.frame(), 1, typed ? 1 : 0);
    }

    /// What a domain holds outside its page tables.
    void count_domain(Domain& domain) noexcept {
        if (domain.shared_info_frame != invalid_frame) add(domain.shared_info_frame, 1, 1);
        if (domain.grants != nullptr) {
            for (std::uint32_t n = 0; n < domain.grants->frames; ++n) add(MachineFrame{domain.grants->shared[n]}, 1, 1);
            grant::for_each_mapping(*domain.grants, [&](const grant::Mapping& mapping) {
                add(MachineFrame{mapping.frame}, 1, mapping.access() == grant::Access::write ? 1 : 0);
            });
        }
        domain.for_each_vcpu([&](Vcpu& vcpu) { count_vcpu(vcpu); });
    }
    void count_vcpu(const Vcpu& vcpu) noexcept {
        for (const MachineFrame held : {vcpu.kernel_root, vcpu.user_root, vcpu.info_frame})
            if (held != invalid_frame) add(held, 1, 1);
        for (std::uint32_t n = 0; n < (vcpu.arch.gdt_entries + 511) / 512; ++n) add(vcpu.arch.gdt_frames[n], 1, 1);
        for (std::uint32_t mapped = vcpu.arch.ldt_mapped; mapped != 0; mapped &= mapped - 1)
            add(vcpu.arch.ldt_frames[__builtin_ctz(mapped)], 1, 1);
    }

    void compare(MachineFrame frame) noexcept {
        const FrameWord word = frame_look(frame);
        if (!is_domain_slot(word.owner())) return;
        ++owned_[word.owner().raw()];
        const Count& expected = counts_[frame.raw() - first_];
        const bool wrong =
            expected.refs != word.refs() || expected.type_refs != word.type_refs() || word.is(FrameWord::locked);
        if (!wrong) return;
        if (++wrong_ <= max_logged)
            arch::log(arch::Level::error, "audit: frame %llx: word %llx: %u refs (%u expected), %u of type (%u)",
                      static_cast<unsigned long long>(frame.raw()), static_cast<unsigned long long>(word.raw()),
                      word.refs(), expected.refs, word.type_refs(), expected.type_refs);
    }
    void compare_account(Domain& domain) noexcept {
        const std::uint64_t recorded = domain.memory.owned_pages.load(Order::relaxed);
        if (recorded == owned_[domain.slot.raw()]) return;
        ++wrong_;
        arch::log(arch::Level::error, "audit: domain %u: owns %u frames, account says %llu", domain.id.raw(),
                  owned_[domain.slot.raw()], static_cast<unsigned long long>(recorded));
    }

    Count* counts_;
    std::uint64_t room_, first_{}, wrong_{};
    static inline std::uint32_t owned_[max_domain_slots];
};

std::uint64_t audit_in(MachineFrame first, unsigned order) noexcept {
    // The block itself must not look free or owned while it is counted.
    for (std::uint64_t n = 0; n < 1ull << order; ++n)
        frame_word(first + n).store(FrameWord::owner_bits(slot_hypervisor), Order::relaxed);
    return Audit{arch::frame_ptr<Count>(first), (page_size << order) / sizeof(Count)}.run();
}

/// Whether a CPU was stopped in the middle of a validation or teardown.
bool any_locked() noexcept {
    for (std::uint64_t n = 0; n < frame_limit; ++n) {
        const FrameWord word = frame_look(MachineFrame{n});
        if (!word.is_owned_by(slot_free) && word.is(FrameWord::locked)) return true;
    }
    return false;
}

/// Where all CPUs but the asking one meet; the last to arrive audits, the others wait for it.
struct Meeting {
    std::uint32_t expected;
    Atomic<std::uint32_t> arrived{0};
    Atomic<bool> over{false};
    Errno error{Errno::busy};
    std::uint64_t wrong{};

    static void attend(void* argument) {
        auto& meeting = *static_cast<Meeting*>(argument);
        if (meeting.arrived.fetch_add(1, Order::acq_rel) + 1 < meeting.expected) {
            while (!meeting.over.load(Order::acquire)) arch::relax();
            return;
        }
        meeting.hold();
        meeting.over.store(true, Order::release);
    }
    void hold() noexcept {
        if (any_locked()) return;
        const auto found = frame_audit();
        error = found ? Errno::ok : Errno::nomem;
        wrong = found.value_or(0);
    }
};

} // namespace

Result<std::uint64_t> frame_audit_stopped() noexcept {
    constexpr int attempts = 1000; // a stopped CPU goes one table further in between
    for (int attempt = 0; attempt < attempts; ++attempt) {
        const CpuMask others = arch::online_cpus() & ~CpuMask::of(arch::this_cpu_id());
        std::uint32_t expected = 0;
        others.for_each([&](CpuId) { ++expected; });
        Meeting meeting{expected};
        if (others.empty())
            meeting.hold();
        else
            arch::call_on(others, &Meeting::attend, &meeting);
        if (meeting.error == Errno::ok) return meeting.wrong;
        if (meeting.error != Errno::busy) return meeting.error;
    }
    return Errno::busy;
}

std::optional<std::uint64_t> frame_audit() noexcept {
    constexpr std::uint64_t parts_max = 16; // more would stop the machine for too long
    const std::uint64_t needed = frame_limit * sizeof(Count);
    unsigned order = 0;
    while (order < max_order && (page_size << order) < needed) ++order;
    for (;; --order) {
        if (auto block = allocator_take(order, 0, false)) {
            const std::uint64_t wrong = audit_in(block->first, order);
            allocator_give(block->first, order);
            return wrong;
        }
        if (order == 0 || (page_size << order) * parts_max < 2 * needed) return {};
    }
}

} // namespace cero
