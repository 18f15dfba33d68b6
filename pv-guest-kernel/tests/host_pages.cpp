// SPDX-License-Identifier: BSD-2-Clause
// Stand-ins for the kernel that the pure parts of memory management run on: an arena of frames,
// malloc as heap, locks that do nothing, panic as a failed test.
#include "tests/host_pages.hpp"

#include <kernel/log.hpp>
#include <kernel/page.hpp>
#include <kernel/sync.hpp>

#include <cstdlib>
#include <stdexcept>

namespace kernel {

Page* page_array;

namespace host {
namespace {
std::uint64_t frames;
bool heap_fails;
} // namespace

void set_frames(std::uint64_t count) {
    delete[] page_array;
    page_array = new Page[count]{};
    frames = count;
}
void fail_heap(bool fail) {
    heap_fails = fail;
}
} // namespace host

std::uint64_t total_frames() noexcept {
    return host::frames;
}
GuestFrame Page::frame() const noexcept {
    return GuestFrame{static_cast<std::uint64_t>(this - page_array)};
}

Page* page_of(GuestFrame frame) noexcept {
    return page_array + frame.raw();
}

EventGuard::EventGuard() noexcept : was_masked_{} {}
EventGuard::~EventGuard() {
    static_cast<void>(was_masked_);
}
void Spinlock::lock() noexcept {}
void Spinlock::unlock() noexcept {}

void* krealloc(void* block, std::size_t size) noexcept {
    return host::heap_fails ? nullptr : std::realloc(block, size);
}
void kfree(void* block) noexcept {
    std::free(block);
}

[[noreturn]] void panic(const char*, ...) {
    throw std::logic_error{"panic"};
}

} // namespace kernel
