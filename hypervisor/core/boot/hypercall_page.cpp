// SPDX-License-Identifier: BSD-2-Clause
#include <core/boot/dom0.hpp>

#include <cero/abi/hypercall.h>

namespace cero {
namespace {

constexpr unsigned stub_size = 32;
constexpr unsigned char breakpoint = 0xcc;

// push %rcx; push %r11; mov $number, %eax; syscall; pop %r11; pop %rcx; ret
constexpr unsigned char call_stub[] = {0x51, 0x41, 0x53, 0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
// iret does not return: push %rcx; push %r11; push %rax; mov $23, %eax; syscall
constexpr unsigned char iret_stub[] = {0x51, 0x41, 0x53, 0x50, 0xb8, CERO_HYPERCALL_iret, 0, 0, 0, 0x0f, 0x05};
constexpr unsigned number_at = 4;

} // namespace

void fill_hypercall_page(unsigned char* page) noexcept {
    for (unsigned n = 0; n < CERO_PAGE_SIZE; ++n) page[n] = breakpoint;
    for (unsigned number = 0; number < CERO_PAGE_SIZE / stub_size; ++number) {
        unsigned char* stub = page + number * stub_size;
        if (number == CERO_HYPERCALL_iret) {
            for (unsigned n = 0; n < sizeof iret_stub; ++n) stub[n] = iret_stub[n];
            continue;
        }
        for (unsigned n = 0; n < sizeof call_stub; ++n) stub[n] = call_stub[n];
        stub[number_at] = static_cast<unsigned char>(number);
    }
}

} // namespace cero
