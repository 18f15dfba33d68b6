// SPDX-License-Identifier: BSD-2-Clause
#include "arch/x86_64/user_context.hpp"

#include "arch/x86_64/cpu.hpp"
#include "arch/x86_64/hypercalls.hpp"
#include "mm/address_space.hpp"
#include "mm/boot_memory.hpp"
#include "process/process.hpp"
#include "sched/thread.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>
#include <kernel/user_copy.hpp>

#include <cstring>

namespace kernel {
namespace {

/// What this vCPU holds at the moment.
struct Loaded {
    const AddressSpace* space;
    Thread* fpu_owner;
    std::uint64_t fs_base;
    std::uint64_t gs_base;
};
Loaded loaded;

bool has_xsave;
std::uint64_t xsave_mask; // components in use
std::size_t state_size = 512;
// The state of a program that has not used the unit: default control words, everything else zero.
alignas(64) unsigned char initial_state[4096];

constexpr std::uint32_t cpuid1_ecx_xsave = 1U << 26;
constexpr std::uint32_t cpuid1_ecx_osxsave = 1U << 27;

void store_state(void* area) noexcept {
    if (has_xsave)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(static_cast<std::uint32_t>(xsave_mask)),
                         "d"(static_cast<std::uint32_t>(xsave_mask >> 32))
                         : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

void restore_state(const void* area) noexcept {
    if (has_xsave)
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(static_cast<std::uint32_t>(xsave_mask)),
                         "d"(static_cast<std::uint32_t>(xsave_mask >> 32))
                         : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}

bool allocate_state(Thread& thread) noexcept {
    if (thread.fpu != nullptr)
        return true;
    // Blocks of 1 KiB and more are 64-byte aligned only when they are whole pages or 2 KiB halves.
    thread.fpu = kmalloc(state_size <= 512 ? 1024 : state_size <= 2048 ? 2048 : state_size);
    return thread.fpu != nullptr;
}

void switch_fpu(Thread& next) noexcept {
    if (loaded.fpu_owner == &next)
        return;
    if (loaded.fpu_owner != nullptr)
        store_state(loaded.fpu_owner->fpu);
    loaded.fpu_owner = &next;
    restore_state(next.fpu);
}

} // namespace

void init_user_context() noexcept {
    const CpuidResult features = cpuid(1);
    if ((features.ecx & cpuid1_ecx_xsave) != 0 && (features.ecx & cpuid1_ecx_osxsave) != 0) {
        // The hypervisor emulates both: the feature must be switched on before XCR0 is.
        constexpr std::uint64_t cr4_osxsave = 1U << 18;
        std::uint64_t cr4;
        __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
        __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | cr4_osxsave));
        const CpuidResult leaf = cpuid(0xd, 0);
        // x87, SSE, AVX, and the three AVX-512 parts when all are there.
        std::uint64_t mask = ((static_cast<std::uint64_t>(leaf.edx) << 32) | leaf.eax) & 0xe7;
        if ((mask & 0xe0) != 0xe0 || (mask & 4) == 0)
            mask &= 7;
        __asm__ volatile("xsetbv" ::"a"(static_cast<std::uint32_t>(mask)), "d"(0), "c"(0));
        const std::size_t size = cpuid(0xd, 0).ebx;
        if ((mask & 3) == 3 && size >= 576 && size <= sizeof initial_state) {
            has_xsave = true;
            xsave_mask = mask;
            state_size = size;
        }
    }
    auto* legacy = reinterpret_cast<std::uint16_t*>(initial_state);
    legacy[0] = 0x37f; // x87 control word
    const std::uint32_t mxcsr = 0x1f80;
    memcpy(initial_state + 24, &mxcsr, sizeof mxcsr);
}

std::size_t fpu_size() noexcept {
    return state_size;
}

void free_fpu(Thread& thread) noexcept {
    EventGuard guard;
    if (loaded.fpu_owner == &thread)
        loaded.fpu_owner = nullptr;
    kfree(thread.fpu);
    thread.fpu = nullptr;
}

bool copy_fpu(Thread& to, Thread& from) noexcept {
    if (!allocate_state(to))
        return false;
    memcpy(to.fpu, save_fpu(from), state_size);
    return true;
}

void reset_fpu(Thread& thread) noexcept {
    EventGuard guard;
    if (!allocate_state(thread))
        panic("no memory for the first program's registers");
    memcpy(thread.fpu, initial_state, state_size);
    load_fpu(thread);
}

void* save_fpu(Thread& thread) noexcept {
    EventGuard guard;
    if (loaded.fpu_owner == &thread)
        store_state(thread.fpu);
    return thread.fpu;
}

void load_fpu(Thread& thread) noexcept {
    EventGuard guard;
    if (loaded.fpu_owner == &thread) {
        restore_state(thread.fpu);
    } else if (&thread == current()) {
        switch_fpu(thread);
    }
}

bool restore_user_fpu(Thread& thread, std::uint64_t user_address) noexcept {
    constexpr std::size_t mxcsr_at = 24;
    constexpr std::size_t header_at = 512;
    auto* copy = static_cast<unsigned char*>(kmalloc(state_size));
    if (copy == nullptr)
        return false;
    bool good = static_cast<bool>(copy_from_user(copy, user_address, state_size));
    if (good) {
        // What the restore instruction would fault on is forced to be valid.
        std::uint32_t mxcsr;
        memcpy(&mxcsr, copy + mxcsr_at, sizeof mxcsr);
        mxcsr &= 0xffff;
        memcpy(copy + mxcsr_at, &mxcsr, sizeof mxcsr);
        if (has_xsave) {
            std::uint64_t header[8] = {};
            memcpy(header, copy + header_at, sizeof(std::uint64_t));
            header[0] &= xsave_mask;
            memcpy(copy + header_at, header, sizeof header);
        }
        EventGuard guard;
        memcpy(thread.fpu, copy, state_size);
        load_fpu(thread);
    }
    kfree(copy);
    return good;
}

void switch_user_context(Thread& previous, Thread& next) noexcept {
    static_cast<void>(previous);
    if (next.process != nullptr)
        load_user_context(next);
}

void load_user_context(Thread& thread) noexcept {
    hyper::Multicall<5> calls;
    cero_mmuext_op bases[2];
    const AddressSpace* space = thread.process->space;
    if (loaded.space != space) {
        bases[0] = {CERO_MMUEXT_NEW_BASEPTR, 0, {space->kernel_root_frame().raw()}, {}};
        bases[1] = {CERO_MMUEXT_NEW_USER_BASEPTR, 0, {space->user_root_frame().raw()}, {}};
        calls.add(CERO_HYPERCALL_mmuext_op, by_address(bases), 2, 0, CERO_DOMID_SELF);
        loaded.space = space;
    }
    calls.add(CERO_HYPERCALL_stack_switch, CERO_FLAT_RING3_SS,
              reinterpret_cast<std::uint64_t>(thread.stack + kernel_stack_size));
    if (loaded.fs_base != thread.fs_base)
        calls.add(CERO_HYPERCALL_set_segment_base, CERO_SEGBASE_FS, thread.fs_base);
    if (loaded.gs_base != thread.gs_base)
        calls.add(CERO_HYPERCALL_set_segment_base, CERO_SEGBASE_GS_USER, thread.gs_base);
    loaded.fs_base = thread.fs_base;
    loaded.gs_base = thread.gs_base;
    if (!calls.flush())
        panic("the hypervisor refused a switch of address space");
    switch_fpu(thread);
}

void forget_address_space(const AddressSpace& space) noexcept {
    EventGuard guard;
    if (loaded.space == &space)
        loaded.space = nullptr; // its root stays valid: roots are recycled, never freed
}

} // namespace kernel
