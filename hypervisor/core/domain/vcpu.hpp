// SPDX-License-Identifier: BSD-2-Clause
// Vcpu: one virtual CPU of a domain: its registers, what it shares with the guest, its place in the
// scheduler.
#pragma once

#include <arch/api/vcpu.hpp>
#include <cero/abi/event.h>
#include <cero/abi/sched.h>
#include <cero/lib/intrusive_list.hpp>
#include <core/time/timer.hpp>

namespace cero {

/// Bits of Vcpu::flags.
namespace vcpu_flag {
inline constexpr std::uint32_t down = 1;        ///< not brought up, or taken down
inline constexpr std::uint32_t blocked = 2;     ///< waits for an event
inline constexpr std::uint32_t initialised = 4; ///< has a context; does not stop it from running
inline constexpr std::uint32_t stops = down | blocked;
} // namespace vcpu_flag

/// The scheduler's part of a vCPU. Protected by the lock of the run queue of `Vcpu::cpu`.
struct SchedEntity {
    std::uint64_t virtual_time{}; ///< weighted ns of CPU received; the smallest runs first
    std::uint64_t started{};      ///< system time from which CPU use is not yet accounted
    std::int64_t budget{};        ///< ns left under the cap in this period
    std::uint64_t period{};       ///< number of the period that the budget belongs to
    bool queued{};                ///< in a run queue, waiting or parked
    bool parked{};                ///< out of budget until the next period
    bool yielded{};
};

/// VIRQs that each vCPU has of its own; the others are one per domain.
inline constexpr std::uint32_t vcpu_virqs[] = {CERO_VIRQ_TIMER, CERO_VIRQ_DEBUG, CERO_VIRQ_XENOPROF, CERO_VIRQ_XENPMU};

/// Members without a note are protected by the run queue lock, or belong to the vCPU itself while
/// it runs and to whoever has paused it otherwise.
struct Vcpu {
    arch::ArchVcpu arch; ///< first: entry code finds the registers here

    Domain* domain{};
    VcpuId id{};
    bool is_idle{};
    Atomic<bool> is_running{};   ///< it is its CPU's current one
    Atomic<bool> on_cpu{};       ///< its state is, or is still being moved out of, a CPU
    Atomic<std::uint32_t> cpu{}; ///< the CPU whose queue it belongs to
    Atomic<std::uint32_t> flags{vcpu_flag::down};
    Atomic<std::uint32_t> pause_count{};
    CpuMask affinity{CpuMask::all()};
    ListLink run_link{};
    SchedEntity sched{};

    /// Page that register_vcpu_info named; holds a writable reference.
    MachineFrame info_frame{invalid_frame};
    cero_vcpu_runstate_info runstate{};
    GuestVirt runstate_area{}; ///< 0 = none
    GuestVirt time_area{};     ///< 0 = none
    std::uint32_t time_version{};

    /// Level-4 tables (each with a type reference); user_root may be invalid_frame.
    MachineFrame kernel_root{invalid_frame};
    MachineFrame user_root{invalid_frame};
    /// A teardown that a preemption point stopped (hv-mm).
    MachineFrame unfinished_table{invalid_frame};

    Timer singleshot;
    Timer periodic;
    Timer poll_timer;
    std::uint64_t period_ns{};
    std::uint16_t virq_port[4]{}; ///< by index in vcpu_virqs; 0 = not bound
    std::uint32_t poll_port{};    ///< the one polled port, or 0 for several

    /// Set by hypercall_continue(), consumed by the dispatcher.
    std::uint64_t continuation[5]{};
    std::uint32_t continuation_count{};
    bool in_multicall{};

    [[nodiscard]] bool is_down() const noexcept { return (flags.load(Order::relaxed) & vcpu_flag::down) != 0; }
    [[nodiscard]] bool is_blocked() const noexcept { return (flags.load(Order::relaxed) & vcpu_flag::blocked) != 0; }
    [[nodiscard]] bool is_initialised() const noexcept {
        return (flags.load(Order::relaxed) & vcpu_flag::initialised) != 0;
    }
    [[nodiscard]] CpuId last_cpu() const noexcept { return CpuId{cpu.load(Order::relaxed)}; }
};

/// True when nothing keeps the vCPU or its domain from running.
[[nodiscard]] bool is_runnable(const Vcpu& vcpu) noexcept;

} // namespace cero
