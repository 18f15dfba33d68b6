// SPDX-License-Identifier: BSD-2-Clause
#include <core/boot/options.hpp>

namespace cero {

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept {
    std::uint64_t value = 0;
    std::size_t at = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, static_cast<std::uint64_t>(text[at] - '0'), &value))
            return {};
    if (at == 0) return {};
    unsigned shift = 0;
    if (at < text.size() && text[at] != ',') {
        switch (text[at++] | 0x20) {
        case 'k': shift = 10; break;
        case 'm': shift = 20; break;
        case 'g': shift = 30; break;
        case 't': shift = 40; break;
        default: return {};
        }
    }
    if ((at < text.size() && text[at] != ',') || value << shift >> shift != value) return {};
    return value << shift;
}

} // namespace cero
