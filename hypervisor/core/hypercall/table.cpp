// SPDX-License-Identifier: BSD-2-Clause
// The hypercall table: number to handler. What is left out answers -ENOSYS.
#include <core/hypercall/handlers.hpp>

#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/guest_ops.hpp>
#include <arch/api/hooks.hpp>
#include <core/domain/domain.hpp>
#include <core/grant/grant_table.hpp>
#include <core/memory/memory_op.hpp>
#include <core/paging/descriptors.hpp>
#include <core/paging/mmu_ops.hpp>

namespace cero {
namespace {

Status not_implemented(Vcpu& current) {
    const std::uint64_t number = current.arch.regs.rax % CERO_HYPERCALL_COUNT;
    Domain& domain = *current.domain;
    const std::uint64_t bit = 1ull << number;
    if ((__atomic_fetch_or(&domain.logged_missing, bit, __ATOMIC_RELAXED) & bit) == 0)
        arch::log(arch::Level::debug, "d%u: hypercall %lu is not implemented", domain.id.raw(),
                  number);
    return Errno::nosys;
}

constexpr HypercallEntry none = wrap<&not_implemented>;

} // namespace

extern "C" std::int64_t hypercall_iret(std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t,
                                       std::uint64_t);

// Row n is hypercall number n.
const HypercallEntry hypercall_table[CERO_HYPERCALL_COUNT] = {
    /*  0 */ wrap<&arch::set_trap_table>,
    /*  1 */ wrap<&mmu_update>,
    /*  2 */ wrap<&arch::set_gdt>,
    /*  3 */ wrap<&arch::stack_switch>,
    /*  4 */ wrap<&arch::set_callbacks>,
    /*  5 */ wrap<&arch::fpu_taskswitch>,
    /*  6 */ none, // sched_op_compat
    /*  7 */ wrap<&platform_op>,
    /*  8 */ wrap<&arch::set_debugreg>,
    /*  9 */ wrap<&arch::get_debugreg>,
    /* 10 */ wrap<&update_descriptor>,
    /* 11 */ none,
    /* 12 */ wrap<&memory_op>,
    /* 13 */ wrap<&multicall>,
    /* 14 */ wrap<&update_va_mapping>,
    /* 15 */ wrap<&set_timer_op>,
    /* 16 */ none, // event_channel_op_compat
    /* 17 */ wrap<&version_op>,
    /* 18 */ wrap<&console_op>,
    /* 19 */ none, // physdev_op_compat
    /* 20 */ wrap<&grant_table_op>,
    /* 21 */ wrap<&vm_assist_op>,
    /* 22 */ wrap<&update_va_mapping_otherdomain>,
    /* 23 */ &hypercall_iret,
    /* 24 */ wrap<&vcpu_op>,
    /* 25 */ wrap<&arch::set_segment_base>,
    /* 26 */ wrap<&mmuext_op>,
    /* 27 */ none, // xsm_op
    /* 28 */ wrap<&arch::nmi_op>,
    /* 29 */ wrap<&sched_op>,
    /* 30 */ wrap<&arch::callback_op>,
    /* 31 */ none, // xenoprof_op
    /* 32 */ wrap<&event_channel_op>,
    /* 33 */ wrap<&physdev_op>,
    /* 34 */ none, // hvm_op
    /* 35 */ wrap<&sysctl_op>,
    /* 36 */ wrap<&domctl_op>,
    /* 37 */ none, // kexec_op
    /* 38 */ none, // tmem_op
    /* 39 */ none, // argo_op
    /* 40 */ none, // xenpmu_op
    /* 41 */ none, // dm_op
    /* 42 */ none, // hypfs_op
    /* 43 */ none,
    /* 44 */ none,
    /* 45 */ none,
    /* 46 */ none,
    /* 47 */ none,
    /* 48 */ none, // arch_0
    /* 49 */ none,
    /* 50 */ none,
    /* 51 */ none,
    /* 52 */ none,
    /* 53 */ none,
    /* 54 */ none,
    /* 55 */ none,
    /* 56 */ none,
    /* 57 */ none,
    /* 58 */ none,
    /* 59 */ none,
    /* 60 */ none,
    /* 61 */ none,
    /* 62 */ none,
    /* 63 */ none,
};

std::int64_t finish_hypercall(Vcpu& vcpu, std::uint64_t number, std::int64_t result) {
    if (result == hypercall_restart) {
        const arch::GuestRegs& regs = vcpu.arch.regs;
        std::uint64_t args[5] = {regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8};
        for (unsigned n = 0; n < vcpu.continuation_count; ++n) args[n] = vcpu.continuation[n];
        arch::restart_hypercall(vcpu, number, args);
        return static_cast<std::int64_t>(number);
    }
    if (result != -static_cast<std::int64_t>(Errno::nosys))
        arch::log(arch::Level::debug, "d%uv%u: hypercall %lu(%lx, %lx, %lx) = %ld, rip %lx",
                  vcpu.domain->id.raw(), vcpu.id.raw(), number, vcpu.arch.regs.rdi,
                  vcpu.arch.regs.rsi, vcpu.arch.regs.rdx, result, vcpu.arch.regs.rip);
    return result;
}

namespace {

constexpr std::uint64_t multicall_chunk = 8;

/// Executes entries until one has to be continued; returns how many are done.
std::uint64_t execute(Vcpu& current, cero_multicall_entry* entries, std::uint64_t count) {
    current.in_multicall = true;
    std::uint64_t done = 0;
    for (; done < count; ++done) {
        cero_multicall_entry& entry = entries[done];
        entry.result = -static_cast<std::int64_t>(Errno::nosys);
        if (entry.op < CERO_HYPERCALL_COUNT && entry.op != CERO_HYPERCALL_iret)
            entry.result = hypercall_table[entry.op](entry.args[0], entry.args[1], entry.args[2],
                                                     entry.args[3], entry.args[4]);
        if (entry.result == hypercall_restart) [[unlikely]] {
            for (unsigned word = 0; word < current.continuation_count; ++word)
                entry.args[word] = current.continuation[word];
            break;
        }
    }
    current.in_multicall = false;
    return done;
}

} // namespace

Status multicall(Vcpu& current, std::uint64_t address, std::uint64_t count) {
    if (current.in_multicall) return Errno::inval;
    GuestPtr<cero_multicall_entry> at{address};
    cero_multicall_entry entries[multicall_chunk];
    while (count != 0) {
        const std::uint64_t now = count < multicall_chunk ? count : multicall_chunk;
        const GuestSpan<cero_multicall_entry> span{at, now};
        TRY(span.read_many(0, entries, now));
        const std::uint64_t done = execute(current, entries, now);
        // An entry to be continued goes back with the arguments that it stopped at.
        TRY(span.write_many(0, entries, done < now ? done + 1 : done));
        at = at.at(done);
        count -= done;
        if (done < now || (count != 0 && arch::preemption_point()))
            return hypercall_continue(current, at.address().raw(), count);
    }
    return {};
}

} // namespace cero
