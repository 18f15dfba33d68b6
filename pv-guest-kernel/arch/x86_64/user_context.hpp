// SPDX-License-Identifier: BSD-2-Clause
// What the hypervisor and the CPU hold for the running user thread beside its registers: address
// space, segment bases, extended (FPU) state.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kernel {

struct Thread;
class AddressSpace;

/// Finds out which extended state this CPU and hypervisor have.
void init_user_context() noexcept;
/// Called with events masked, between two threads. Kernel threads run on whatever is loaded.
void switch_user_context(Thread& previous, Thread& next) noexcept;
/// Loads the address space and segment bases of the current thread (exec, first entry).
void load_user_context(Thread& thread) noexcept;
/// The address space goes away: if it is loaded, load the kernel's own.
void forget_address_space(const AddressSpace& space) noexcept;

/// Extended state. The registers belong to one thread at a time, which need not be the running one.
[[nodiscard]] std::size_t fpu_size() noexcept;
void free_fpu(Thread& thread) noexcept;
/// Copies the state of `from` (the current thread) into a new buffer of `to`. False: out of memory.
[[nodiscard]] bool copy_fpu(Thread& to, Thread& from) noexcept;
/// Initial state for the current thread.
void reset_fpu(Thread& thread) noexcept;
/// The state of the current thread in memory, to be read (and written, then load_fpu()).
[[nodiscard]] void* save_fpu(Thread& thread) noexcept;
/// Loads state that a program supplies (sigreturn); false: not readable or not valid.
[[nodiscard]] bool restore_user_fpu(Thread& thread, std::uint64_t user_address) noexcept;
/// Marks the thread's saved state as the valid one.
void load_fpu(Thread& thread) noexcept;

} // namespace kernel
