// SPDX-License-Identifier: BSD-2-Clause
// ConsoleRing: the guest's side of the console page. Pure logic over shared memory.
#pragma once

#include <cero/abi/io/console.h>

#include <cstddef>

namespace drivers {

class ConsoleRing {
public:
    constexpr ConsoleRing() noexcept = default;
    explicit ConsoleRing(cero_console_page& page) noexcept : page_{&page} {}

    /// Puts what fits into the output ring; returns the count.
    std::size_t write(const char* data, std::size_t size) noexcept;
    /// Takes what is there, at most `size`; returns the count.
    std::size_t read(char* data, std::size_t size) noexcept;

private:
    cero_console_page* page_{};
};

} // namespace drivers
