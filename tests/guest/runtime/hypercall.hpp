// SPDX-License-Identifier: BSD-2-Clause
// Hypercalls of a test kernel: one raw door, and a typed stub for each call.
#pragma once

#include <cero/abi/domctl.h>
#include <cero/abi/errno.h>
#include <cero/abi/event.h>
#include <cero/abi/grant.h>
#include <cero/abi/hypercall.h>
#include <cero/abi/memory.h>
#include <cero/abi/mmu.h>
#include <cero/abi/physdev.h>
#include <cero/abi/platform.h>
#include <cero/abi/sched.h>
#include <cero/abi/shared_info.h>
#include <cero/abi/start_info.h>
#include <cero/abi/sysctl.h>
#include <cero/abi/trap.h>

#include <cstddef>
#include <cstdint>

namespace guest {

using Word = std::uint64_t;

inline long hypercall(unsigned number, Word a1 = 0, Word a2 = 0, Word a3 = 0, Word a4 = 0,
                      Word a5 = 0) {
    long result;
    register Word r10 asm("r10") = a4;
    register Word r8 asm("r8") = a5;
    asm volatile("syscall"
                 : "=a"(result), "+D"(a1), "+S"(a2), "+d"(a3), "+r"(r10), "+r"(r8)
                 : "0"(static_cast<Word>(number))
                 : "rcx", "r11", "memory");
    return result;
}

inline Word address(const volatile void* p) {
    return reinterpret_cast<Word>(p);
}

inline long set_trap_table(const cero_trap_info* table) {
    return hypercall(CERO_HYPERCALL_set_trap_table, address(table));
}
inline long mmu_update(const cero_mmu_update* updates, Word count, std::uint32_t* done = nullptr,
                       Word domain = CERO_DOMID_SELF) {
    return hypercall(CERO_HYPERCALL_mmu_update, address(updates), count, address(done), domain);
}
inline long mmu_update_one(Word ptr, Word val, Word domain = CERO_DOMID_SELF) {
    const cero_mmu_update update{ptr, val};
    return mmu_update(&update, 1, nullptr, domain);
}
inline long set_gdt(const Word* frames, Word entries) {
    return hypercall(CERO_HYPERCALL_set_gdt, address(frames), entries);
}
inline long stack_switch(Word ss, Word sp) {
    return hypercall(CERO_HYPERCALL_stack_switch, ss, sp);
}
inline long fpu_taskswitch(Word set) {
    return hypercall(CERO_HYPERCALL_fpu_taskswitch, set);
}
inline long set_debugreg(Word number, Word value) {
    return hypercall(CERO_HYPERCALL_set_debugreg, number, value);
}
inline long get_debugreg(Word number) {
    return hypercall(CERO_HYPERCALL_get_debugreg, number);
}
inline long update_descriptor(Word machine_address, Word value) {
    return hypercall(CERO_HYPERCALL_update_descriptor, machine_address, value);
}
inline long memory_op(Word command, void* argument) {
    return hypercall(CERO_HYPERCALL_memory_op, command, address(argument));
}
inline long multicall(cero_multicall_entry* calls, Word count) {
    return hypercall(CERO_HYPERCALL_multicall, address(calls), count);
}
inline long update_va_mapping(Word va, Word entry, Word flags) {
    return hypercall(CERO_HYPERCALL_update_va_mapping, va, entry, flags);
}
inline long set_timer_op(Word deadline) {
    return hypercall(CERO_HYPERCALL_set_timer_op, deadline);
}
inline long xen_version(Word command, void* argument = nullptr) {
    return hypercall(CERO_HYPERCALL_xen_version, command, address(argument));
}
inline long console_io(Word command, Word count, const char* buffer) {
    return hypercall(CERO_HYPERCALL_console_io, command, count, address(buffer));
}
inline long grant_table_op(Word command, void* array, Word count) {
    return hypercall(CERO_HYPERCALL_grant_table_op, command, address(array), count);
}
inline long vm_assist(Word command, Word type) {
    return hypercall(CERO_HYPERCALL_vm_assist, command, type);
}
inline long vcpu_op(Word command, Word vcpu, void* argument = nullptr) {
    return hypercall(CERO_HYPERCALL_vcpu_op, command, vcpu, address(argument));
}
inline long set_segment_base(Word which, Word base) {
    return hypercall(CERO_HYPERCALL_set_segment_base, which, base);
}
inline long mmuext_op(const cero_mmuext_op* ops, Word count, std::uint32_t* done = nullptr,
                      Word domain = CERO_DOMID_SELF) {
    return hypercall(CERO_HYPERCALL_mmuext_op, address(ops), count, address(done), domain);
}
inline long mmuext_one(std::uint32_t command, Word arg1 = 0, Word arg2 = 0,
                       Word domain = CERO_DOMID_SELF) {
    cero_mmuext_op op{};
    op.cmd = command;
    op.arg1.mfn = arg1;
    op.arg2.vcpumask = arg2;
    return mmuext_op(&op, 1, nullptr, domain);
}
inline long sched_op(Word command, void* argument = nullptr) {
    return hypercall(CERO_HYPERCALL_sched_op, command, address(argument));
}
inline long callback_op(Word command, void* argument) {
    return hypercall(CERO_HYPERCALL_callback_op, command, address(argument));
}
inline long event_channel_op(Word command, void* argument) {
    return hypercall(CERO_HYPERCALL_event_channel_op, command, address(argument));
}
inline long physdev_op(Word command, void* argument) {
    return hypercall(CERO_HYPERCALL_physdev_op, command, address(argument));
}

} // namespace guest
