// SPDX-License-Identifier: BSD-2-Clause
// What the compiler takes for granted of a C++ runtime.
#include <kernel/log.hpp>

#include <new>

const std::nothrow_t std::nothrow{};

extern "C" {

void* __dso_handle; // NOLINT(bugprone-reserved-identifier): the compiler's name

/// Destructors of static objects never run: the kernel has no end.
int atexit(void (*)()) {
    return 0;
}

[[noreturn]] void
__cxa_pure_virtual() { // NOLINT(bugprone-reserved-identifier): the compiler's name
    kernel::panic("call of a pure virtual function");
}

[[noreturn]] void abort() {
    kernel::panic("abort");
}

} // extern "C"
