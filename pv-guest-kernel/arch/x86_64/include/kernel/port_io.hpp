// SPDX-License-Identifier: BSD-2-Clause
// Port I/O: the hypervisor emulates it for the control domain, and refuses it to others.
#pragma once

#include <cstdint>

namespace kernel {

inline void out32(std::uint16_t port, std::uint32_t value) noexcept {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
inline void out16(std::uint16_t port, std::uint16_t value) noexcept {
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
inline void out8(std::uint16_t port, std::uint8_t value) noexcept {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
inline std::uint32_t in32(std::uint16_t port) noexcept {
    std::uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

} // namespace kernel
