// SPDX-License-Identifier: BSD-2-Clause
// ConsoleRing: the two byte rings of a guest's console page, read and written with distrust.
#pragma once

#include <cero/abi/io/console.h>

#include <string>
#include <string_view>

namespace cero::console {

/// The guest may change every byte of the page at any time; only indexes that make sense are used.
class ConsoleRing {
public:
    explicit ConsoleRing(cero_console_page* page) : page_{page} {}

    /// Appends what the guest has written to `out`; true when there was something.
    bool take_output(std::string& out);
    /// Gives the guest as much of `input` as it has room for; returns how many bytes.
    [[nodiscard]] std::size_t give_input(std::string_view input);
    /// The guest's indexes made no sense at some time.
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }

private:
    cero_console_page* page_;
    bool broken_{false};
};

/// The last bytes of a stream, up to a bound.
class History {
public:
    explicit History(std::size_t bound) : bound_{bound} {}
    void append(std::string_view bytes);
    [[nodiscard]] std::string_view last(std::size_t bytes) const noexcept;

private:
    std::size_t bound_;
    std::string bytes_;
};

} // namespace cero::console
