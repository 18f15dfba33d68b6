// SPDX-License-Identifier: BSD-2-Clause
// Stand-ins for the kernel functions that the tested drivers call: one thread, ordinary memory.
#include "host_guest.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace host {

std::vector<std::string> log_lines;

} // namespace host

namespace kernel {

namespace {
bool is_masked;
}
EventGuard::EventGuard() noexcept : was_masked_{is_masked} {
    is_masked = true;
}
EventGuard::~EventGuard() {
    if (!was_masked_ && host::HostGuest::current != nullptr)
        host::HostGuest::current->deliver_all();
    is_masked = was_masked_;
}
void Spinlock::lock() noexcept {
    held_.store(1, cero::Order::relaxed);
}
void Spinlock::unlock() noexcept {
    held_.store(0, cero::Order::relaxed);
}
void Mutex::lock() noexcept {
    if (owner_ != nullptr)
        std::abort();
    owner_ = reinterpret_cast<Thread*>(this);
}
void Mutex::unlock() noexcept {
    owner_ = nullptr;
}

void* alloc_pages(unsigned order) noexcept {
    void* pages = std::aligned_alloc(page_size, page_size << order);
    if (pages != nullptr)
        std::memset(pages, 0xa5, page_size << order);
    return pages;
}
void free_pages(void* pages, unsigned) noexcept {
    std::free(pages);
}

void vprintk(Level, const char* format, va_list args) {
    char line[512];
    std::vsnprintf(line, sizeof line, format, args);
    std::fputs(line, stderr);
    host::log_lines.emplace_back(line);
}
void printk(Level level, const char* format, ...) {
    va_list args;
    va_start(args, format);
    vprintk(level, format, args);
    va_end(args);
}

} // namespace kernel
