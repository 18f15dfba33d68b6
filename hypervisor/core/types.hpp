// SPDX-License-Identifier: BSD-2-Clause
// Strong types of the hypervisor: frames, addresses, identifiers, time, sets of CPUs.
#pragma once

#include <cero/abi/types.h>
#include <cero/lib/result.hpp>
#include <cero/lib/strong.hpp>

#include <cstddef>
#include <cstdint>

namespace cero {

inline constexpr unsigned page_shift = 12;
inline constexpr std::uint64_t page_size = 1ull << page_shift;

using MachineFrame = Strong<struct MachineFrameTag, std::uint64_t>;
using PhysAddr = Strong<struct PhysAddrTag, std::uint64_t>;
using GuestVirt = Strong<struct GuestVirtTag, std::uint64_t>;
using DomainId = Strong<struct DomainIdTag, std::uint16_t>;
/// Index into the domain table; what a frame records as its owner.
using DomainSlot = Strong<struct DomainSlotTag, std::uint16_t>;
using VcpuId = Strong<struct VcpuIdTag, std::uint32_t>;
using CpuId = Strong<struct CpuIdTag, std::uint32_t>;
using EventPort = Strong<struct EventPortTag, std::uint32_t>;
using GrantRef = Strong<struct GrantRefTag, std::uint32_t>;
using Pirq = Strong<struct PirqTag, std::uint32_t>;
/// System time (since boot) or a span of it.
using Nanoseconds = Strong<struct NanosecondsTag, std::uint64_t>;

constexpr MachineFrame operator+(MachineFrame frame, std::uint64_t pages) noexcept {
    return MachineFrame{frame.raw() + pages};
}
constexpr GuestVirt operator+(GuestVirt address, std::uint64_t bytes) noexcept {
    return GuestVirt{address.raw() + bytes};
}
constexpr PhysAddr to_phys(MachineFrame frame) noexcept { return PhysAddr{frame.raw() << page_shift}; }
constexpr MachineFrame to_frame(PhysAddr address) noexcept { return MachineFrame{address.raw() >> page_shift}; }

inline constexpr MachineFrame invalid_frame{~0ull};
inline constexpr DomainId domid_self{CERO_DOMID_SELF};
inline constexpr DomainId domid_io{CERO_DOMID_IO};
inline constexpr DomainId domid_xen{CERO_DOMID_XEN};
inline constexpr DomainId domid_idle{CERO_DOMID_IDLE};

inline constexpr unsigned max_cpus = 64;
inline constexpr unsigned max_vcpus = 64; ///< per domain; a set of vCPUs fits one word
/// Slots of the domain table. Slot 0 is never a domain: an all-zero frame word has no owner.
inline constexpr unsigned max_domain_slots = 1024;
inline constexpr DomainSlot slot_io{1021};
inline constexpr DomainSlot slot_hypervisor{1022};
inline constexpr DomainSlot slot_free{1023};
inline constexpr unsigned first_domain_slot = 1;
inline constexpr unsigned last_domain_slot = 1020;

/// A set of CPUs. A value; for a set that CPUs share, keep its word in an Atomic.
class CpuMask {
public:
    constexpr CpuMask() noexcept = default;
    constexpr explicit CpuMask(std::uint64_t bits) noexcept : bits_{bits} {}
    [[nodiscard]] static constexpr CpuMask of(CpuId cpu) noexcept { return CpuMask{1ull << (cpu.raw() % max_cpus)}; }
    [[nodiscard]] static constexpr CpuMask all() noexcept { return CpuMask{~0ull}; }
    [[nodiscard]] constexpr std::uint64_t raw() const noexcept { return bits_; }
    [[nodiscard]] constexpr bool empty() const noexcept { return bits_ == 0; }
    [[nodiscard]] constexpr bool contains(CpuId cpu) const noexcept {
        return ((bits_ >> (cpu.raw() % max_cpus)) & 1) != 0;
    }
    constexpr void add(CpuId cpu) noexcept { bits_ |= of(cpu).bits_; }
    constexpr void remove(CpuId cpu) noexcept { bits_ &= ~of(cpu).bits_; }
    /// Lowest member; the set is not empty.
    [[nodiscard]] constexpr CpuId first() const noexcept {
        return CpuId{static_cast<std::uint32_t>(__builtin_ctzll(bits_))};
    }
    constexpr bool operator==(const CpuMask&) const noexcept = default;
    friend constexpr CpuMask operator&(CpuMask a, CpuMask b) noexcept { return CpuMask{a.bits_ & b.bits_}; }
    friend constexpr CpuMask operator|(CpuMask a, CpuMask b) noexcept { return CpuMask{a.bits_ | b.bits_}; }
    friend constexpr CpuMask operator~(CpuMask a) noexcept { return CpuMask{~a.bits_}; }

    /// Calls `visit(CpuId)` for each member, lowest first.
    template <typename Visit> constexpr void for_each(Visit&& visit) const {
        for (std::uint64_t rest = bits_; rest != 0; rest &= rest - 1)
            visit(CpuId{static_cast<std::uint32_t>(__builtin_ctzll(rest))});
    }

private:
    std::uint64_t bits_{};
};

struct Domain;
struct Vcpu;

} // namespace cero
