// SPDX-License-Identifier: BSD-2-Clause
// Vcpu: one virtual CPU of a domain: its registers, what it shares with the guest, its place in the
// scheduler.
#pragma once

#include <arch/api/context.hpp>
#include <cero/abi/event.h>
#include <cero/abi/sched.h>
#include <cero/abi/shared_info.h>
#include <cero/lib/atomic.hpp>
#include <cero/lib/intrusive_list.hpp>
#include <core/time/timer.hpp>
#include <core/types.hpp>

namespace cero {

/// Why a vCPU may not run; it is runnable when no bit is set and nobody paused it or its domain.
namespace vcpu_flag {
inline constexpr std::uint32_t down = 1;        ///< not brought up, or taken down
inline constexpr std::uint32_t blocked = 2;     ///< waits for an event
inline constexpr std::uint32_t polling = 4;     ///< waits for given ports; together with blocked
inline constexpr std::uint32_t initialised = 8; ///< has a context; does not stop it from running
inline constexpr std::uint32_t stops = down | blocked;
} // namespace vcpu_flag

/// The scheduler's part of a vCPU. Protected by the lock of the run queue of `Vcpu::cpu`.
struct SchedEntity {
    ListLink link{};
    std::uint64_t virtual_time{}; ///< weighted ns of CPU received; the smallest runs first
    std::uint64_t started{};      ///< system time from which CPU use is not yet accounted
    std::int64_t budget{};        ///< ns left under the cap in this period
    std::uint64_t period{};       ///< number of the period that the budget belongs to
    bool parked{};                ///< out of budget until the next period
};

struct Vcpu {
    arch::ArchVcpu arch; ///< first: entry code finds the registers here

    Domain* domain{};
    VcpuId id{};
    bool is_idle{};
    bool is_running{};           ///< on a CPU now; run queue lock
    bool context_loaded{};       ///< its state may still be in a CPU's registers
    Atomic<std::uint32_t> cpu{}; ///< the CPU whose queue it belongs to
    Atomic<std::uint32_t> flags{vcpu_flag::down};
    Atomic<std::uint32_t> pause_count{};
    CpuMask affinity{CpuMask::all()};
    SchedEntity sched;

    /// Where the guest looks for pending events and time: inside shared_info, a page of its own, or
    /// a dummy. Changed only by register_vcpu_info.
    cero_vcpu_info* info{};
    MachineFrame info_frame{invalid_frame}; ///< holds a writable reference when registered

    cero_vcpu_runstate_info runstate{};
    GuestVirt runstate_area{}; ///< 0 = none
    GuestVirt time_area{};     ///< 0 = none
    bool areas_stale{}; ///< could not be written in user mode; written on the way to the kernel
    std::uint32_t time_version{};

    /// Level-4 tables (each with a type reference); user_root may be invalid_frame.
    MachineFrame kernel_root{invalid_frame};
    MachineFrame user_root{invalid_frame};
    MachineFrame unfinished_table{
        invalid_frame}; ///< teardown that a preemption point stopped (hv-mm)

    Timer singleshot;
    Timer periodic;
    Timer poll_timer;
    std::uint64_t period_ns{};
    std::uint16_t virq_port[CERO_NR_VIRQS]{}; ///< per-vCPU VIRQs; 0 = not bound
    std::uint32_t poll_port{};                ///< the one polled port, or 0 for several

    /// Set by hypercall_continue(); consumed by the dispatcher.
    std::uint64_t continuation[5]{};
    std::uint32_t continuation_count{};
    bool in_multicall{};
    Atomic<bool> nmi_pending{};

    [[nodiscard]] bool is_down() const noexcept {
        return (flags.load(Order::relaxed) & vcpu_flag::down) != 0;
    }
    [[nodiscard]] bool is_initialised() const noexcept {
        return (flags.load(Order::relaxed) & vcpu_flag::initialised) != 0;
    }
    [[nodiscard]] bool has_deliverable_event() const noexcept {
        return __atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_ACQUIRE) != 0 &&
               __atomic_load_n(&info->evtchn_upcall_mask, __ATOMIC_RELAXED) == 0;
    }
};

/// True when nothing keeps the vCPU or its domain from running.
[[nodiscard]] bool is_runnable(const Vcpu& vcpu) noexcept;

} // namespace cero
