// SPDX-License-Identifier: BSD-2-Clause
// The memory and string functions that the compiler may call from freestanding code.
#include <cstddef>
#include <cstdint>

extern "C" {

// rep movsb/stosb: fast on every CPU with ERMS and correct everywhere; no vector state is touched.
void* memcpy(void* to, const void* from, std::size_t count) {
    void* out = to;
    std::size_t words = count / 8;
    std::size_t rest = count % 8;
    __asm__ volatile("rep movsq\n\tmov %3, %%rcx\n\trep movsb"
                     : "+D"(out), "+S"(from), "+c"(words)
                     : "r"(rest)
                     : "memory");
    return to;
}

void* memset(void* to, int byte, std::size_t count) {
    void* out = to;
    std::size_t words = count / 8;
    std::size_t rest = count % 8;
    const std::uint64_t pattern = 0x0101010101010101ull * static_cast<unsigned char>(byte);
    __asm__ volatile("rep stosq\n\tmov %3, %%rcx\n\trep stosb"
                     : "+D"(out), "+c"(words)
                     : "a"(pattern), "r"(rest)
                     : "memory");
    return to;
}

void* memmove(void* to, const void* from, std::size_t count) {
    if (reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from) >= count)
        return memcpy(to, from, count);
    auto* out = static_cast<unsigned char*>(to) + count;
    const auto* in = static_cast<const unsigned char*>(from) + count;
    while (count-- != 0)
        *--out = *--in;
    return to;
}

int memcmp(const void* left, const void* right, std::size_t count) {
    const auto* a = static_cast<const unsigned char*>(left);
    const auto* b = static_cast<const unsigned char*>(right);
    for (std::size_t i = 0; i < count; ++i)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

void* memchr(const void* in, int byte, std::size_t count) {
    const auto* at = static_cast<const unsigned char*>(in);
    for (std::size_t i = 0; i < count; ++i)
        if (at[i] == static_cast<unsigned char>(byte))
            return const_cast<unsigned char*>(at + i);
    return nullptr;
}

std::size_t strlen(const char* text) {
    std::size_t length = 0;
    while (text[length] != '\0')
        ++length;
    return length;
}

int strcmp(const char* left, const char* right) {
    while (*left != '\0' && *left == *right) {
        ++left;
        ++right;
    }
    return static_cast<unsigned char>(*left) - static_cast<unsigned char>(*right);
}

int strncmp(const char* left, const char* right, std::size_t count) {
    for (; count != 0; --count, ++left, ++right) {
        if (*left != *right || *left == '\0')
            return static_cast<unsigned char>(*left) - static_cast<unsigned char>(*right);
    }
    return 0;
}

} // extern "C"
