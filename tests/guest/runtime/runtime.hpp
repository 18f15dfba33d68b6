// SPDX-License-Identifier: BSD-2-Clause
// What a test kernel is written with: verdicts, checks, traps, pages, events, user mode.
#pragma once

#include "hypercall.hpp"

#include <initializer_list>
#include <type_traits>

namespace guest {

// ---------------------------------------------------------------------------------------------
// Verdict: the worst report wins, and is the last line on the console.

enum class Verdict { success, skip, error, failure };

/// Prints a line; `failure` says that the hypervisor is wrong, `error` that the test cannot tell.
void report(Verdict verdict, const char* format, ...) __attribute__((format(printf, 2, 3)));
void print(const char* format, ...) __attribute__((format(printf, 1, 2)));
/// Prints the verdict and ends the domain.
[[noreturn]] void finish();

/// Reports a failure unless the values are equal; `what` says what was done.
void check_equal(const char* what, long actual, long expected);
void check_true(const char* what, bool value);

/// The test itself; returning from it ends the test.
void test_main();
/// Runs on a second vCPU whose context says rt_secondary_start; by default does nothing.
void secondary_main();

// ---------------------------------------------------------------------------------------------
// Start of day.

extern cero_start_info* start_info;
extern cero_shared_info* shared_info; ///< mapped by the runtime
bool is_first_domain();

// ---------------------------------------------------------------------------------------------
// Pages. All static data lies in the initial mapping: virtual address = VIRT_BASE + PFN * 4096.

inline constexpr Word virt_base = 0xffffffff80000000;
inline constexpr Word page_size = 4096;

inline constexpr Word pte_present = 1 << 0;
inline constexpr Word pte_writable = 1 << 1;
inline constexpr Word pte_user = 1 << 2;
inline constexpr Word pte_accessed = 1 << 5;
inline constexpr Word pte_dirty = 1 << 6;
inline constexpr Word pte_large = 1 << 7;
inline constexpr Word pte_global = 1 << 8;
inline constexpr Word pte_nx = 1ull << 63;
inline constexpr Word pte_frame_mask = 0x000ffffffffff000;
inline constexpr Word pte_rw = pte_present | pte_writable | pte_accessed | pte_dirty;
inline constexpr Word pte_ro = pte_present | pte_accessed;

struct alignas(4096) Page {
    Word words[512];
};

Word pfn_of(const volatile void* va);
Word mfn_of(const volatile void* va);
Word mfn_of_pfn(Word pfn);
Word pfn_of_mfn(Word mfn); ///< by the machine-to-physical table
void* virt_of_mfn(Word mfn);
/// The entry that maps `va` in the initial tables at a level (1 to 4), readable; nullptr if none.
const volatile Word* entry_of(Word va, unsigned level = 1);
Word entry_maddr(Word va, unsigned level = 1);
/// An unused page outside the image, mapped and writable; there are about a hundred. Zeroed.
Page* take_page();
/// Changes the initial mapping of a page; the frame stays. Reports an error when it cannot.
void make_readonly(const volatile void* page);
void make_writable(const volatile void* page);

// ---------------------------------------------------------------------------------------------
// Traps.

struct Regs {
    Word r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    Word vector, error_code, rip, cs, rflags, rsp, ss;
    [[nodiscard]] bool from_user() const { return (cs & 3) != 0; }
    [[nodiscard]] std::uint8_t saved_upcall_mask() const {
        return static_cast<std::uint8_t>(cs >> 32);
    }
};

enum Vector : Word {
    divide_error = 0,
    debug = 1,
    breakpoint = 3,
    overflow = 4,
    invalid_opcode = 6,
    device_not_available = 7,
    double_fault = 8,
    invalid_tss = 10,
    segment_not_present = 11,
    stack_fault = 12,
    general_protection = 13,
    page_fault = 14,
    fpu_error = 16,
    alignment_check = 17,
    simd_error = 19,
    event_upcall = 256,
    syscall_entry = 257,
    failsafe = 258,
    none = 999,
};

struct Trap {
    Word vector = none;
    Word error_code = 0;
    Word rip = 0;
    Word cr2 = 0;
    Regs regs{};
    [[nodiscard]] bool happened() const { return vector != none; }
};

/// Trap table and callbacks, as they are when the test starts.
void install_handlers();
/// Called for a trap; true = handled, go on at the (perhaps changed) registers.
using TrapHook = bool (*)(Regs& regs);
extern TrapHook trap_hook;

Trap guarded_call(long (*body)(void*), void* argument, long* result);

/// Runs a callable; a trap inside ends it. Returns the trap (`happened()` false if there was none).
template <typename Body>
Trap guarded(Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    return guarded_call(
        [](void* argument) -> long {
            (*static_cast<Plain*>(argument))();
            return 0;
        },
        const_cast<void*>(static_cast<const void*>(&body)), nullptr);
}

/// Reports a failure unless the trap has this vector (and error code, if not -1).
void check_trap(const char* what, const Trap& trap, Word vector, long error_code = -1);

// ---------------------------------------------------------------------------------------------
// Guest user mode. The user's page tables are a copy of the kernel's part that holds the image.

/// Runs `entry(argument)` in user mode on a stack of its own until it traps or makes a system call.
Trap run_user(void (*entry)(Word), Word argument, Word rflags = 0x202);
/// In user mode: a system call with a number and one argument (what run_user returns holds both).
inline void user_syscall(Word number, Word argument = 0) {
    asm volatile("syscall" : "+a"(number), "+D"(argument) : : "rcx", "r11", "memory");
}

// ---------------------------------------------------------------------------------------------
// Events and time.

extern volatile Word event_count[4096]; ///< deliveries per port, by the event callback
extern volatile Word upcall_count;
cero_vcpu_info& vcpu_info();
void unmask_port(std::uint32_t port); ///< locally, without a hypercall
void mask_port(std::uint32_t port);
bool port_pending(std::uint32_t port);
void enable_events();  ///< clears the upcall mask and takes what is pending
void disable_events(); ///< sets the upcall mask

Word read_tsc();
Word system_time(); ///< ns since the system started
/// Waits (polling the clock) until `condition` holds; false after `limit_ns`.
bool wait_for(bool (*condition)(), Word limit_ns);

/// An address whose access faults: not mapped.
inline constexpr Word unmapped_address = 0xffffffffc0000000;
/// Addresses that a hypercall must refuse as a buffer.
inline constexpr Word hypervisor_address = 0xffff820000000000;
inline constexpr Word noncanonical_address = 0x0000900000000000;

} // namespace guest
