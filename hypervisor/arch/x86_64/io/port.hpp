// SPDX-License-Identifier: BSD-2-Clause
// Port and memory-mapped I/O.
#pragma once

#include <cstdint>

namespace cero::arch {

#define CERO_PORT_ACCESS(bits, suffix)                                                                                 \
    inline void out##bits(std::uint16_t port, std::uint##bits##_t value) noexcept {                                    \
        __asm__ volatile("out" suffix " %0, %1" : : "a"(value), "Nd"(port));                                           \
    }                                                                                                                  \
    inline std::uint##bits##_t in##bits(std::uint16_t port) noexcept {                                                 \
        std::uint##bits##_t value;                                                                                     \
        __asm__ volatile("in" suffix " %1, %0" : "=a"(value) : "Nd"(port));                                            \
        return value;                                                                                                  \
    }
CERO_PORT_ACCESS(8, "b")
CERO_PORT_ACCESS(16, "w")
CERO_PORT_ACCESS(32, "l")
#undef CERO_PORT_ACCESS

/// Accesses of 1, 2 or 4 bytes.
inline std::uint32_t in_port(std::uint16_t port, unsigned bytes) noexcept {
    return bytes == 1 ? in8(port) : bytes == 2 ? in16(port) : in32(port);
}
inline void out_port(std::uint16_t port, unsigned bytes, std::uint32_t value) noexcept {
    if (bytes == 1)
        out8(port, static_cast<std::uint8_t>(value));
    else if (bytes == 2)
        out16(port, static_cast<std::uint16_t>(value));
    else
        out32(port, value);
}

/// A device register of a mapped page; T is the access width.
template <typename T> T mmio_read(std::uint64_t address) noexcept {
    return *reinterpret_cast<const volatile T*>(address);
}
template <typename T> void mmio_write(std::uint64_t address, T value) noexcept {
    *reinterpret_cast<volatile T*>(address) = value;
}

} // namespace cero::arch
