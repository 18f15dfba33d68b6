// SPDX-License-Identifier: BSD-2-Clause
// Typed hypercalls, and Multicall, which bundles several into one.
#pragma once

#include <cero/abi/event.h>
#include <cero/abi/grant.h>
#include <cero/abi/hypercall.h>
#include <cero/abi/memory.h>
#include <cero/abi/mmu.h>
#include <cero/abi/sched.h>
#include <cero/abi/trap.h>

#include <kernel/hypercall.hpp>

namespace kernel::hyper {

inline long set_trap_table(const cero_trap_info* table) noexcept {
    return hypercall(CERO_HYPERCALL_set_trap_table, by_address(table));
}
inline long mmu_update(const cero_mmu_update* requests, unsigned count, std::uint32_t* done,
                       unsigned domain = CERO_DOMID_SELF) noexcept {
    return hypercall(CERO_HYPERCALL_mmu_update, by_address(requests), count, by_address(done),
                     domain);
}
inline long update_va_mapping(std::uintptr_t address, std::uint64_t entry,
                              std::uint64_t flags) noexcept {
    return hypercall(CERO_HYPERCALL_update_va_mapping, address, entry, flags);
}
inline long mmuext_op(const cero_mmuext_op* ops, unsigned count) noexcept {
    return hypercall(CERO_HYPERCALL_mmuext_op, by_address(ops), count, 0, CERO_DOMID_SELF);
}
inline long memory_op(unsigned command, void* argument) noexcept {
    return hypercall(CERO_HYPERCALL_memory_op, command, by_address(argument));
}
inline long sched_op(unsigned command, const void* argument) noexcept {
    return hypercall(CERO_HYPERCALL_sched_op, command, by_address(argument));
}
inline long vcpu_op(unsigned command, unsigned vcpu, const void* argument) noexcept {
    return hypercall(CERO_HYPERCALL_vcpu_op, command, vcpu, by_address(argument));
}
inline long event_channel_op(unsigned command, void* argument) noexcept {
    return hypercall(CERO_HYPERCALL_event_channel_op, command, by_address(argument));
}
inline long grant_table_op(unsigned command, void* requests, unsigned count) noexcept {
    return hypercall(CERO_HYPERCALL_grant_table_op, command, by_address(requests), count);
}
inline long console_io(unsigned command, std::size_t size, const char* text) noexcept {
    return hypercall(CERO_HYPERCALL_console_io, command, size, by_address(text));
}
inline long set_segment_base(unsigned which, std::uint64_t base) noexcept {
    return hypercall(CERO_HYPERCALL_set_segment_base, which, base);
}
inline long stack_switch(std::uint64_t stack_pointer) noexcept {
    return hypercall(CERO_HYPERCALL_stack_switch, CERO_FLAT_RING3_SS, stack_pointer);
}
inline long register_callback(std::uint16_t type, std::uint16_t flags, const void* entry) noexcept {
    const cero_callback_register argument{type, flags, 0, by_address(entry)};
    return hypercall(CERO_HYPERCALL_callback_op, CERO_CALLBACKOP_register, by_address(&argument));
}
inline long xen_version(unsigned command, void* answer = nullptr) noexcept {
    return hypercall(CERO_HYPERCALL_xen_version, command, by_address(answer));
}
/// Delivers events that are pending and unmasked: any hypercall does, this is the cheapest.
inline void deliver_events() noexcept {
    static_cast<void>(xen_version(CERO_XENVER_version));
}

/// Up to `Capacity` hypercalls issued as one. What the arguments point to must live until flush().
template <unsigned Capacity>
class Multicall {
public:
    void add(unsigned op, std::uint64_t a1 = 0, std::uint64_t a2 = 0, std::uint64_t a3 = 0,
             std::uint64_t a4 = 0) noexcept {
        cero_multicall_entry& entry = entries_[count_++];
        entry.op = op;
        entry.args[0] = a1;
        entry.args[1] = a2;
        entry.args[2] = a3;
        entry.args[3] = a4;
    }
    [[nodiscard]] unsigned count() const noexcept { return count_; }
    /// False if any of them failed.
    [[nodiscard]] bool flush() noexcept {
        bool good = true;
        if (count_ == 1) { // a bundle of one costs more than the call itself
            const cero_multicall_entry& e = entries_[0];
            good = hypercall(static_cast<unsigned>(e.op), e.args[0], e.args[1], e.args[2],
                             e.args[3]) >= 0;
        } else if (count_ != 0) {
            good = hypercall(CERO_HYPERCALL_multicall, by_address(entries_), count_) == 0;
            for (unsigned i = 0; i < count_; ++i)
                good = good && entries_[i].result >= 0;
        }
        count_ = 0;
        return good;
    }

private:
    cero_multicall_entry entries_[Capacity];
    unsigned count_{};
};

} // namespace kernel::hyper
