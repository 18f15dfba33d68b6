// SPDX-License-Identifier: BSD-2-Clause
// A machine for host tests of hypervisor/core: an arena plays RAM, the clock stands still unless
// told, CPUs are turns that one thread takes, guest addresses are host pointers.
#pragma once

#include <arch/api/boot.hpp>
#include <arch/api/cpu.hpp>
#include <arch/api/irq.hpp>
#include <core/types.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cero::host {

inline constexpr std::uint64_t ram_frames = 16384; ///< 64 MiB
inline constexpr unsigned cpus = 4;

/// What the fakes have been told and what they have seen.
struct State {
    std::uint64_t now{1'000'000'000};
    std::uint64_t deadline[cpus]{};
    unsigned online{1};
    std::vector<std::string> log;
    std::string console;
    std::string input;
    unsigned event_checks{};
    unsigned reschedules{};
    unsigned flushes{};
    /// preemption_point() answers true every n-th time; 0 = never.
    unsigned preempt_every{};
    unsigned preempt_calls{};
    /// Copies that touch these addresses fault.
    std::uint64_t fault_from{}, fault_to{};
    /// is_acceptable() says no.
    bool refuse_context{};
    std::map<std::string, std::string, std::less<>> options;
    std::vector<arch::BootModule> modules;
    struct Route {
        arch::IrqHandler handler;
        std::uint32_t cookie;
        bool masked;
        unsigned eois;
    };
    std::map<std::uint32_t, Route> irqs;
    std::uint64_t restart_number{};
    std::uint64_t restart_args[5]{};
};
State& state();

/// Brings the machine up once per process: frames, CPU 0 with its idle vCPU.
void boot();
/// CPUs 1 .. count-1 start too (once); the others take no part from now on.
void use_cpus(unsigned count);
/// The thread goes on as this CPU.
void become(unsigned cpu);
/// Makes the vCPU the current one of this CPU, past the scheduler.
void run_as(Vcpu& vcpu);
/// Softirqs of this CPU, as its way out would handle them.
void leave_hypervisor();
/// A guest address that nothing backs.
inline constexpr std::uint64_t bad_address = 0x10;

} // namespace cero::host
