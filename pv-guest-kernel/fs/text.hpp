// SPDX-License-Identifier: BSD-2-Clause
// Small text helpers: bounded copies, numbers out of text, and a growing text for generated files.
#pragma once

#include <kernel/memory.hpp>

#include <cero/lib/format.hpp>

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kernel {

/// Copies what fits and ends it with NUL.
template <std::size_t N>
void copy_text(char (&to)[N], std::string_view from) noexcept {
    const std::size_t length = from.size() < N - 1 ? from.size() : N - 1;
    std::memcpy(to, from.data(), length);
    to[length] = 0;
}

/// The part of `text` from `at` on, which may lie behind its end.
inline std::string_view tail(std::string_view text, std::size_t at) noexcept {
    return at >= text.size() ? std::string_view{}
                             : std::string_view{text.data() + at, text.size() - at};
}

/// A decimal number that is the whole text.
inline bool parse_number(std::string_view text, std::uint64_t& value) noexcept {
    if (text.empty() || text.size() > 19)
        return false;
    value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return true;
}

/// As %llu wants it.
constexpr unsigned long long ull(std::uint64_t value) noexcept {
    return value;
}

/// Text that grows on the heap. Running out of memory cuts it short and sets failed().
class Text {
public:
    Text() noexcept = default;
    ~Text() { kfree(data_); }
    Text(const Text&) = delete;
    Text& operator=(const Text&) = delete;

    void append(std::string_view more) noexcept {
        if (!reserve(more.size()))
            return;
        std::memcpy(data_ + size_, more.data(), more.size());
        size_ += more.size();
    }
    void format(const char* form, ...) noexcept __attribute__((format(printf, 2, 3))) {
        char line[512];
        va_list arguments;
        va_start(arguments, form);
        const int length = cero::vformat_to(line, sizeof(line), form, arguments);
        va_end(arguments);
        const auto wanted = static_cast<std::size_t>(length < 0 ? 0 : length);
        append({line, wanted < sizeof(line) ? wanted : sizeof(line) - 1});
    }
    void clear() noexcept { size_ = 0; }
    [[nodiscard]] const char* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool failed() const noexcept { return failed_; }

private:
    bool reserve(std::size_t more) noexcept {
        if (size_ + more <= capacity_)
            return true;
        std::size_t wanted = capacity_ == 0 ? 512 : capacity_ * 2;
        while (wanted < size_ + more)
            wanted *= 2;
        auto* fresh = static_cast<char*>(krealloc(data_, wanted));
        if (fresh == nullptr) {
            failed_ = true;
            return false;
        }
        data_ = fresh;
        capacity_ = wanted;
        return true;
    }

    char* data_{};
    std::size_t size_{};
    std::size_t capacity_{};
    bool failed_{};
};

} // namespace kernel
