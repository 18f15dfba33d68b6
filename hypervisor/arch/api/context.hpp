// SPDX-License-Identifier: BSD-2-Clause
// vCPU contexts: switching between them, installing and reading them, injecting into them.
#pragma once

#include <arch/api/vcpu.hpp>
#include <core/types.hpp>

#include <cero/abi/trap.h>
#include <cero/lib/result.hpp>

namespace cero::arch {

/// Reset state: everything zero, FPU initialised, no tables, not runnable before a context is set.
void vcpu_init(Vcpu& vcpu) noexcept;

/// Makes `to` the current vCPU of this CPU. Returns normally: there is one stack per CPU, so the
/// caller goes on (in the exit loop) with another `current`. Either may be the idle vCPU.
void context_switch(Vcpu& from, Vcpu& to) noexcept;

/// Whether a context may be installed, as far as its registers tell.
[[nodiscard]] bool is_acceptable(const Vcpu& vcpu, const cero_vcpu_guest_context& context) noexcept;
/// Installs the register part of an acceptable context: user_regs, traps, callbacks, segment bases,
/// kernel stack, debug registers, FPU. Page-table roots, GDT and LDT (references!) are the
/// caller's: see set_roots, set_gdt.
void set_guest_context(Vcpu& vcpu, const cero_vcpu_guest_context& context) noexcept;
void get_guest_context(const Vcpu& vcpu, cero_vcpu_guest_context& context) noexcept;

/// Registers of a new domain's first vCPU at its entry (pv-abi-facts A.6).
void set_start_of_day(Vcpu& vcpu, GuestVirt entry, GuestVirt stack, GuestVirt start_info) noexcept;

/// After kernel_cr3 or user_cr3 of the current vCPU changed: loads the active one.
void load_page_tables(Vcpu& vcpu) noexcept;
/// After gdt_frames, gdt_entries or the LDT fields changed: rewrites the windows if vcpu is
/// current.
void load_gdt(Vcpu& vcpu) noexcept;
void load_ldt(Vcpu& vcpu) noexcept;

/// Current vCPU only: enters the guest kernel's handler, or crashes the domain when there is none.
void inject_exception(Vcpu& vcpu, unsigned vector) noexcept;
void inject_exception(Vcpu& vcpu, unsigned vector, std::uint32_t error_code) noexcept;
void inject_page_fault(Vcpu& vcpu, GuestVirt address, std::uint32_t error_code) noexcept;
/// Any vCPU: queues a virtual NMI. The caller kicks the vCPU.
void queue_nmi(Vcpu& vcpu) noexcept;

/// Whether the current vCPU has an event to take on its way out.
inline bool event_deliverable(const ArchVcpu& vcpu) noexcept {
    return vcpu.info->evtchn_upcall_pending != 0 && vcpu.info->evtchn_upcall_mask == 0;
}

/// Prepares the current vCPU to execute its hypercall again with these arguments (continuation).
void restart_hypercall(Vcpu& vcpu, std::uint64_t number, const std::uint64_t (&args)[5]) noexcept;

/// Logs the registers, the top of the stack and the code of a vCPU (domain crash).
void dump_vcpu(const Vcpu& vcpu) noexcept;

} // namespace cero::arch
