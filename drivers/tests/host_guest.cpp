// SPDX-License-Identifier: BSD-2-Clause
// The kernel functions that back ends call, on a HostGuest.
#include "host_guest.hpp"

#include <kernel/boot.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>
#include <kernel/time.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace host {

using kernel::page_size;

HostGuest* HostGuest::current = nullptr;
kernel::Nanoseconds HostGuest::now = 0;

HostGuest::HostGuest(unsigned frames)
    : file_{memfd_create("guest", 0)}, frames_{frames}, memory_{}, grants_(8) {
    if (file_ < 0 || ftruncate(file_, static_cast<off_t>(frames * page_size)) != 0)
        std::abort();
    memory_ = static_cast<std::byte*>(
        mmap(nullptr, frames * page_size, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0));
    current = this;
}

HostGuest::~HostGuest() {
    munmap(memory_, frames_ * page_size);
    ::close(file_);
    current = nullptr;
}

std::byte* HostGuest::frame(std::uint64_t number) const {
    return number < frames_ ? memory_ + number * page_size : nullptr;
}

kernel::grant::Ref HostGuest::grant(std::uint64_t frame, bool writable) {
    grants_.push_back({frame, writable, true});
    return static_cast<kernel::grant::Ref>(grants_.size() - 1);
}

bool HostGuest::fails() {
    return failure_in != 0 && --failure_in == 0;
}

void HostGuest::map(kernel::grant::MapRequest& request) {
    request.status = -1;
    request.handle = 0xdead; // what a failed operation leaves is not to be used
    request.bus_address = ~0ull;
    if (request.domain != id || request.ref >= grants_.size() || fails())
        return;
    const Grant& grant = grants_[request.ref];
    if (!grant.is_given || (!request.readonly && !grant.is_writable))
        return;
    for (const auto& [handle, address] : mappings_)
        EXPECT_NE(address, request.address) << "a page is mapped over another one";
    void* const mapped =
        mmap(request.address, page_size, PROT_READ | (request.readonly ? 0 : PROT_WRITE),
             MAP_SHARED | MAP_FIXED, file_, static_cast<off_t>(grant.frame * page_size));
    ASSERT_EQ(mapped, request.address);
    request.status = 0;
    request.handle = next_handle_++;
    request.bus_address = grant.frame * page_size;
    mappings_[request.handle] = static_cast<std::byte*>(request.address);
    ++map_count;
}

void HostGuest::unmap(kernel::grant::UnmapRequest& request) {
    const auto at = mappings_.find(request.handle);
    if (at == mappings_.end() || at->second != request.address) {
        ADD_FAILURE() << "unmap of handle " << request.handle << ", which is not mapped there";
        request.status = -4;
        return;
    }
    mmap(request.address, page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    mappings_.erase(at);
    request.status = 0;
}

std::byte* HostGuest::copy_side(const kernel::grant::CopySide& side, bool is_written) const {
    if (!side.is_ref)
        return reinterpret_cast<std::byte*>(side.frame.raw() * page_size) + side.offset;
    if (side.domain != id || side.ref >= grants_.size() || !grants_[side.ref].is_given ||
        (is_written && !grants_[side.ref].is_writable))
        return nullptr;
    return frame(grants_[side.ref].frame) + side.offset;
}

void HostGuest::copy(kernel::grant::CopyRequest& request) {
    request.status = -1;
    EXPECT_NE(request.source.is_ref, request.target.is_ref) << "one side is the guest";
    const std::byte* const from = copy_side(request.source, false);
    std::byte* const to = copy_side(request.target, true);
    if (from == nullptr || to == nullptr || fails())
        return;
    ASSERT_LE(request.source.offset + request.length, page_size);
    ASSERT_LE(request.target.offset + request.length, page_size);
    std::memcpy(to, from, request.length);
    request.status = 0;
}

void* HostGuest::reserve(std::size_t pages) {
    if (fails())
        return nullptr;
    auto* const area = static_cast<std::byte*>(
        mmap(nullptr, pages * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    areas_[area] = pages;
    return area;
}

void HostGuest::release(void* address, std::size_t pages) {
    auto* const area = static_cast<std::byte*>(address);
    EXPECT_EQ(areas_[area], pages);
    for (const auto& [handle, mapped] : mappings_)
        EXPECT_FALSE(mapped >= area && mapped < area + pages * page_size)
            << "released while mapped";
    areas_.erase(area);
    munmap(area, pages * page_size);
}

kernel::event::Port HostGuest::bind(kernel::event::Port remote) {
    ports_[next_port_] = {remote, nullptr, nullptr, true};
    return next_port_++;
}

void HostGuest::set_handler(kernel::event::Port port, kernel::event::Handler handler,
                            void* context) {
    ports_.at(port) = {ports_.at(port).remote, handler, context, false};
}

void HostGuest::notify(kernel::event::Port port) {
    ++events_[ports_.at(port).remote];
}

void HostGuest::close(kernel::event::Port port) {
    EXPECT_EQ(ports_.erase(port), 1u);
    raised_.erase(port);
}

void HostGuest::raise(kernel::event::Port port) {
    EXPECT_EQ(ports_.count(port), 1u) << "raises a port that is not bound";
    const kernel::EventGuard guard;
    raised_.insert(port);
}

void HostGuest::mask(kernel::event::Port port) {
    ports_.at(port).is_masked = true;
}

void HostGuest::send_event(kernel::event::Port remote) {
    for (const auto& [port, target] : ports_)
        if (target.remote == remote && target.handler != nullptr)
            return raise(port);
}

bool HostGuest::deliver_raised() {
    const kernel::EventGuard guard;
    bool any = false;
    for (const kernel::event::Port port : std::exchange(raised_, {})) {
        const auto at = ports_.find(port);
        if (at == ports_.end())
            continue; // closed by an earlier handler
        if (at->second.is_masked) {
            raised_.insert(port);
            continue;
        }
        any = true;
        at->second.handler(port, at->second.context);
    }
    return any;
}

void HostGuest::deliver_all() {
    while (!holds_raised && deliver_raised()) {
    }
}

bool HostGuest::is_masked(kernel::event::Port remote) const {
    for (const auto& [port, target] : ports_)
        if (target.remote == remote)
            return target.is_masked;
    return false;
}

unsigned HostGuest::events(kernel::event::Port remote) const {
    const auto at = events_.find(remote);
    return at == events_.end() ? 0 : at->second;
}

} // namespace host

namespace kernel {

using host::HostGuest;

Nanoseconds monotonic_ns() noexcept {
    return HostGuest::now;
}
bool is_initial_domain() noexcept {
    return false;
}

void WaitQueue::prepare(Waiter&, bool) noexcept {}
void WaitQueue::finish(Waiter&, bool) noexcept {}
void WaitQueue::wake_all() noexcept {}
bool WaitQueue::sleep_until(Nanoseconds) noexcept {
    return false;
}
void WaitQueue::sleep() noexcept {
    if (!HostGuest::current->while_asleep || !HostGuest::current->while_asleep()) {
        ADD_FAILURE() << "sleeps for ever";
        std::abort();
    }
}

Result<void*> reserve_kernel_pages(std::size_t count) noexcept {
    void* const area = HostGuest::current->reserve(count);
    if (area == nullptr)
        return Errno::nomem;
    return area;
}
void release_kernel_pages(void* address, std::size_t count) noexcept {
    HostGuest::current->release(address, count);
}
MachineFrame virt_to_mfn(const void* address) noexcept {
    return MachineFrame{reinterpret_cast<std::uintptr_t>(address) / page_size};
}

namespace grant {
Status map(MapRequest* requests, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i)
        HostGuest::current->map(requests[i]);
    if (HostGuest::current->disturb)
        HostGuest::current->disturb();
    return {};
}
Status unmap(UnmapRequest* requests, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i)
        HostGuest::current->unmap(requests[i]);
    return {};
}
Status copy(CopyRequest* requests, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i)
        HostGuest::current->copy(requests[i]);
    if (HostGuest::current->disturb)
        HostGuest::current->disturb();
    return {};
}
} // namespace grant

namespace event {
Result<Port> bind_interdomain(DomainId, Port remote_port) noexcept {
    if (HostGuest::current->fails())
        return Errno::inval;
    return HostGuest::current->bind(remote_port);
}
void set_guest_handler(Port port, Handler handler, void* context) noexcept {
    HostGuest::current->set_handler(port, handler, context);
}
void raise(Port port) noexcept {
    HostGuest::current->raise(port);
}
void mask(Port port) noexcept {
    HostGuest::current->mask(port);
}
void notify(Port port) noexcept {
    HostGuest::current->notify(port);
}
void close(Port port) noexcept {
    HostGuest::current->close(port);
}
} // namespace event

} // namespace kernel
