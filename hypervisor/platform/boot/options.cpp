// SPDX-License-Identifier: BSD-2-Clause
#include <platform/boot/options.hpp>

namespace cero::platform {
namespace {

constexpr std::string_view known_names[] = {
    "console", "com1", "com2", "loglvl", "dom0_mem", "dom0_max_vcpus", "maxcpus", "noreboot", "nox2apic", "nodeadline",
};

constexpr std::string_view cut(std::string_view text, std::size_t from, std::size_t to) noexcept {
    return {text.data() + from, to - from};
}

std::size_t name_length(std::string_view word) noexcept {
    std::size_t length = 0;
    while (length < word.size() && word[length] != '=') ++length;
    return length;
}

} // namespace

std::string_view next_word(std::string_view& rest) noexcept {
    std::size_t first = 0;
    while (first < rest.size() && (rest[first] == ' ' || rest[first] == '\t')) ++first;
    std::size_t last = first;
    while (last < rest.size() && rest[last] != ' ' && rest[last] != '\t') ++last;
    const std::string_view word = cut(rest, first, last);
    rest = cut(rest, last, rest.size());
    return word;
}

std::optional<std::string_view> find_option(std::string_view line, std::string_view name) noexcept {
    std::optional<std::string_view> found;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
        const std::size_t length = name_length(word);
        if (cut(word, 0, length) == name) found = cut(word, length < word.size() ? length + 1 : length, word.size());
    }
    return found;
}

bool is_known_option(std::string_view word) noexcept {
    const std::string_view name = cut(word, 0, name_length(word));
    for (const std::string_view known : known_names)
        if (known == name) return true;
    return false;
}

std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
    unsigned base = 10;
    std::size_t at = 0;
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        at = 2;
    }
    if (at == text.size()) return {};
    std::uint64_t value = 0;
    for (; at < text.size(); ++at) {
        const char c = text[at];
        unsigned digit = 99;
        if (c >= '0' && c <= '9')
            digit = static_cast<unsigned>(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = static_cast<unsigned>(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = static_cast<unsigned>(c - 'A') + 10;
        if (digit >= base || __builtin_mul_overflow(value, std::uint64_t{base}, &value) ||
            __builtin_add_overflow(value, std::uint64_t{digit}, &value))
            return {};
    }
    return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept {
    unsigned shift = 10;
    if (!text.empty()) {
        constexpr std::string_view suffixes = "BKMGT";
        const char last = static_cast<char>(text[text.size() - 1] & ~0x20);
        for (unsigned n = 0; n < suffixes.size(); ++n)
            if (last == suffixes[n]) {
                shift = n * 10;
                text = cut(text, 0, text.size() - 1);
                break;
            }
    }
    const auto number = parse_number(text);
    if (!number || (*number << shift) >> shift != *number) return {};
    return *number << shift;
}

} // namespace cero::platform
