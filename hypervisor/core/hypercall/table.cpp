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

#include <cstring>

namespace cero {

extern "C" std::int64_t hypercall_iret(std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t);

namespace {

Status not_implemented(Vcpu&) { return Errno::nosys; }

// As in the ABI's header, in the order of their numbers.
constexpr char names[] =
    "set_trap_table\0mmu_update\0set_gdt\0stack_switch\0set_callbacks\0fpu_taskswitch\0sched_op_compat\0platform_op\0"
    "set_debugreg\0get_debugreg\0update_descriptor\0?\0memory_op\0multicall\0update_va_mapping\0set_timer_op\0"
    "event_channel_op_compat\0xen_version\0console_io\0physdev_op_compat\0grant_table_op\0vm_assist\0"
    "update_va_mapping_otherdomain\0iret\0vcpu_op\0set_segment_base\0mmuext_op\0xsm_op\0nmi_op\0sched_op\0callback_op\0"
    "xenoprof_op\0event_channel_op\0physdev_op\0hvm_op\0sysctl\0domctl\0kexec_op\0tmem_op\0argo_op\0xenpmu_op\0dm_op\0"
    "hypfs_op";
const char* name_of(std::uint64_t number) {
    if (number > CERO_HYPERCALL_hypfs_op) return "?";
    const char* name = names;
    for (; number != 0; --number) name += std::strlen(name) + 1;
    return name;
}

/// One line per domain and operation that is left out: the guest's author is told, nobody's log is washed away.
void note_left_out(Vcpu& vcpu, std::uint64_t number, std::uint64_t first_argument) {
    constexpr std::uint64_t by_command =
        1ull << CERO_HYPERCALL_memory_op | 1ull << CERO_HYPERCALL_xen_version | 1ull << CERO_HYPERCALL_console_io |
        1ull << CERO_HYPERCALL_grant_table_op | 1ull << CERO_HYPERCALL_vm_assist | 1ull << CERO_HYPERCALL_vcpu_op |
        1ull << CERO_HYPERCALL_nmi_op | 1ull << CERO_HYPERCALL_sched_op | 1ull << CERO_HYPERCALL_callback_op |
        1ull << CERO_HYPERCALL_event_channel_op | 1ull << CERO_HYPERCALL_physdev_op;
    const bool has_command = number < CERO_HYPERCALL_COUNT && (by_command >> number & 1) != 0;
    const std::uint64_t key = number + (has_command ? static_cast<std::uint32_t>(first_argument) * 41 : 0);
    std::uint64_t& word = vcpu.domain->logged_left_out[key / 64 % 4];
    const std::uint64_t bit = 1ull << key % 64;
    if ((__atomic_load_n(&word, __ATOMIC_RELAXED) & bit) != 0) [[likely]]
        return;
    if ((__atomic_fetch_or(&word, bit, __ATOMIC_RELAXED) & bit) != 0) return;
    const unsigned domain = vcpu.domain->id.raw();
    if (has_command)
        arch::log(arch::Level::info, "d%u: %s (hypercall %lu), command %u: left out, -ENOSYS", domain, name_of(number),
                  number, static_cast<std::uint32_t>(first_argument));
    else
        arch::log(arch::Level::info, "d%u: %s (hypercall %lu): left out, -ENOSYS", domain, name_of(number), number);
}

constexpr HypercallTable make_table() {
    HypercallTable table{};
    for (HypercallEntry& row : table.rows) row = wrap<&not_implemented>;
    table.rows[CERO_HYPERCALL_set_trap_table] = wrap<&arch::set_trap_table>;
    table.rows[CERO_HYPERCALL_mmu_update] = wrap<&mmu_update>;
    table.rows[CERO_HYPERCALL_set_gdt] = wrap<&arch::set_gdt>;
    table.rows[CERO_HYPERCALL_stack_switch] = wrap<&arch::stack_switch>;
    table.rows[CERO_HYPERCALL_set_callbacks] = wrap<&arch::set_callbacks>;
    table.rows[CERO_HYPERCALL_fpu_taskswitch] = wrap<&arch::fpu_taskswitch>;
    table.rows[CERO_HYPERCALL_platform_op] = wrap<&platform_op>;
    table.rows[CERO_HYPERCALL_set_debugreg] = wrap<&arch::set_debugreg>;
    table.rows[CERO_HYPERCALL_get_debugreg] = wrap<&arch::get_debugreg>;
    table.rows[CERO_HYPERCALL_update_descriptor] = wrap<&update_descriptor>;
    table.rows[CERO_HYPERCALL_memory_op] = wrap<&memory_op>;
    table.rows[CERO_HYPERCALL_multicall] = wrap<&multicall>;
    table.rows[CERO_HYPERCALL_update_va_mapping] = wrap<&update_va_mapping>;
    table.rows[CERO_HYPERCALL_set_timer_op] = wrap<&set_timer_op>;
    table.rows[CERO_HYPERCALL_xen_version] = wrap<&version_op>;
    table.rows[CERO_HYPERCALL_console_io] = wrap<&console_op>;
    table.rows[CERO_HYPERCALL_grant_table_op] = wrap<&grant_table_op>;
    table.rows[CERO_HYPERCALL_vm_assist] = wrap<&vm_assist_op>;
    table.rows[CERO_HYPERCALL_update_va_mapping_otherdomain] = wrap<&update_va_mapping_otherdomain>;
    table.rows[CERO_HYPERCALL_iret] = &hypercall_iret;
    table.rows[CERO_HYPERCALL_vcpu_op] = wrap<&vcpu_op>;
    table.rows[CERO_HYPERCALL_set_segment_base] = wrap<&arch::set_segment_base>;
    table.rows[CERO_HYPERCALL_mmuext_op] = wrap<&mmuext_op>;
    table.rows[CERO_HYPERCALL_nmi_op] = wrap<&arch::nmi_op>;
    table.rows[CERO_HYPERCALL_sched_op] = wrap<&sched_op>;
    table.rows[CERO_HYPERCALL_callback_op] = wrap<&arch::callback_op>;
    table.rows[CERO_HYPERCALL_event_channel_op] = wrap<&event_channel_op>;
    table.rows[CERO_HYPERCALL_physdev_op] = wrap<&physdev_op>;
    table.rows[CERO_HYPERCALL_sysctl] = wrap<&sysctl_op>;
    table.rows[CERO_HYPERCALL_domctl] = wrap<&domctl_op>;
    return table;
}

constexpr std::uint64_t multicall_chunk = 8;
constexpr std::int64_t no_such_call = -static_cast<std::int64_t>(Errno::nosys);

/// Executes entries until one has to be continued; returns how many are done.
std::uint64_t execute(Vcpu& current, cero_multicall_entry* entries, std::uint64_t count) {
    current.in_multicall = true;
    std::uint64_t done = 0;
    for (; done < count; ++done) {
        cero_multicall_entry& entry = entries[done];
        entry.result = no_such_call;
        if (entry.op < CERO_HYPERCALL_COUNT && entry.op != CERO_HYPERCALL_iret)
            entry.result =
                hypercall_table[entry.op](entry.args[0], entry.args[1], entry.args[2], entry.args[3], entry.args[4]);
        if (entry.result == no_such_call) [[unlikely]]
            note_left_out(current, entry.op, entry.args[0]);
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

constinit const HypercallTable hypercall_table = make_table();

std::int64_t finish_hypercall(Vcpu& vcpu, std::uint64_t number, std::int64_t result) {
    if (result == hypercall_restart) {
        const arch::GuestRegs& regs = vcpu.arch.regs;
        std::uint64_t args[5] = {regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8};
        for (unsigned n = 0; n < vcpu.continuation_count; ++n) args[n] = vcpu.continuation[n];
        arch::restart_hypercall(vcpu, number, args);
        return static_cast<std::int64_t>(number);
    }
    if (result == no_such_call) {
        note_left_out(vcpu, number, vcpu.arch.regs.rdi);
        return result;
    }
    // Kernels probe with vcpu_op, Linux 8,000 times; and no guest may wash everybody's lines out of the ring.
    constexpr std::uint32_t most = 100;
    Domain& domain = *vcpu.domain;
    if (number != CERO_HYPERCALL_vcpu_op && __atomic_load_n(&domain.logged_refusals, __ATOMIC_RELAXED) < most &&
        __atomic_fetch_add(&domain.logged_refusals, 1, __ATOMIC_RELAXED) < most)
        arch::log(arch::Level::debug, "d%uv%u: %s(%lx, %lx, %lx) = %ld, rip %lx", domain.id.raw(), vcpu.id.raw(),
                  name_of(number), vcpu.arch.regs.rdi, vcpu.arch.regs.rsi, vcpu.arch.regs.rdx, result,
                  vcpu.arch.regs.rip);
    return result;
}

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
