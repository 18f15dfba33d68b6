// SPDX-License-Identifier: BSD-2-Clause
#include <cero/lib/format.hpp>

#include <cstdint>

namespace cero {
namespace {

class Sink {
public:
    Sink(char* out, std::size_t size) noexcept : out_{out}, size_{size} {}
    void put(char c) noexcept {
        if (length_ + 1 < size_)
            out_[length_] = c;
        ++length_;
    }
    void fill(char c, int count) noexcept {
        for (; count > 0; --count)
            put(c);
    }
    int finish() noexcept {
        if (size_ != 0)
            out_[length_ < size_ ? length_ : size_ - 1] = '\0';
        return static_cast<int>(length_);
    }

private:
    char* out_;
    std::size_t size_;
    std::size_t length_{};
};

struct Spec {
    bool left{};
    bool zero{};
    bool alternate{};
    bool plus{};
    int width{};
    int precision{-1};
    int longs{};
};

void put_text(Sink& sink, const Spec& spec, const char* text, int length) noexcept {
    if (!spec.left)
        sink.fill(' ', spec.width - length);
    for (int i = 0; i < length; ++i)
        sink.put(text[i]);
    if (spec.left)
        sink.fill(' ', spec.width - length);
}

void put_number(Sink& sink, const Spec& spec, std::uint64_t value, bool negative, unsigned base,
                bool upper) noexcept {
    char digits[24];
    int count = 0;
    const char* alphabet = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    do {
        digits[count++] = alphabet[value % base];
        value /= base;
    } while (value != 0);
    const char* prefix = negative                         ? "-"
                         : spec.plus                      ? "+"
                         : (spec.alternate && base == 16) ? "0x"
                                                          : "";
    int prefix_length = 0;
    while (prefix[prefix_length] != '\0')
        ++prefix_length;
    int zeros = spec.precision > count ? spec.precision - count : 0;
    if (spec.zero && !spec.left && spec.precision < 0 && spec.width > count + prefix_length)
        zeros = spec.width - count - prefix_length;
    const int total = count + zeros + prefix_length;
    if (!spec.left)
        sink.fill(' ', spec.width - total);
    for (int i = 0; i < prefix_length; ++i)
        sink.put(prefix[i]);
    sink.fill('0', zeros);
    while (count > 0)
        sink.put(digits[--count]);
    if (spec.left)
        sink.fill(' ', spec.width - total);
}

int parse_int(const char*& at) noexcept {
    int value = 0;
    while (*at >= '0' && *at <= '9')
        value = value * 10 + (*at++ - '0');
    return value;
}

} // namespace

int vformat_to(char* out, std::size_t size, const char* format, va_list args) {
    Sink sink{out, size};
    for (const char* at = format; *at != '\0'; ++at) {
        if (*at != '%') {
            sink.put(*at);
            continue;
        }
        Spec spec;
        for (++at;; ++at) {
            if (*at == '-')
                spec.left = true;
            else if (*at == '0')
                spec.zero = true;
            else if (*at == '#')
                spec.alternate = true;
            else if (*at == '+')
                spec.plus = true;
            else
                break;
        }
        if (*at == '*') {
            spec.width = va_arg(args, int);
            ++at;
        } else {
            spec.width = parse_int(at);
        }
        if (*at == '.') {
            ++at;
            if (*at == '*') {
                spec.precision = va_arg(args, int);
                ++at;
            } else {
                spec.precision = parse_int(at);
            }
        }
        for (;; ++at) {
            if (*at == 'l')
                ++spec.longs;
            else if (*at == 'z' || *at == 'j' || *at == 't')
                spec.longs = 2;
            else if (*at != 'h')
                break;
        }
        switch (*at) {
        case 'd':
        case 'i': {
            const std::int64_t value = spec.longs != 0 ? va_arg(args, long) : va_arg(args, int);
            const bool negative = value < 0;
            put_number(sink, spec,
                       negative ? 0 - static_cast<std::uint64_t>(value)
                                : static_cast<std::uint64_t>(value),
                       negative, 10, false);
            break;
        }
        case 'u':
        case 'x':
        case 'X':
        case 'o': {
            const std::uint64_t value =
                spec.longs != 0 ? va_arg(args, unsigned long) : va_arg(args, unsigned);
            put_number(sink, spec, value, false, *at == 'u' ? 10 : *at == 'o' ? 8 : 16, *at == 'X');
            break;
        }
        case 'p':
            spec.alternate = true;
            put_number(sink, spec, reinterpret_cast<std::uintptr_t>(va_arg(args, void*)), false, 16,
                       false);
            break;
        case 'c': {
            const char c = static_cast<char>(va_arg(args, int));
            put_text(sink, spec, &c, 1);
            break;
        }
        case 's': {
            const char* text = va_arg(args, const char*);
            if (text == nullptr)
                text = "(null)";
            int length = 0;
            while ((spec.precision < 0 || length < spec.precision) && text[length] != '\0')
                ++length;
            put_text(sink, spec, text, length);
            break;
        }
        case '%':
            sink.put('%');
            break;
        case '\0':
            return sink.finish();
        default:
            sink.put('%');
            sink.put(*at);
            break;
        }
    }
    return sink.finish();
}

int format_to(char* out, std::size_t size, const char* format, ...) {
    va_list args;
    va_start(args, format);
    const int length = vformat_to(out, size, format, args);
    va_end(args);
    return length;
}

} // namespace cero
