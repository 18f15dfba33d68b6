// SPDX-License-Identifier: BSD-2-Clause
// The table of a guest's persistently mapped pages.
#include "persistent_grants.hpp"

#include <kernel/log.hpp>

#include <new>

namespace drivers::blkif {

using kernel::grant::invalid_handle;
using kernel::grant::UnmapRequest;

kernel::Status PersistentGrants::allocate() {
    TRY(pages_.reserve(capacity));
    entries_ = new (std::nothrow) Entry[capacity];
    if (entries_ == nullptr) {
        pages_.release();
        return kernel::Errno::nomem;
    }
    for (std::uint16_t& head : buckets_)
        head = none;
    free_ = none;
    hand_ = mapped_ = 0;
    for (unsigned i = capacity; i-- != 0;)
        make_free(entries_[i]);
    return {};
}

void PersistentGrants::release() noexcept {
    if (entries_ == nullptr)
        return;
    constexpr unsigned group = 32;
    UnmapRequest requests[group];
    unsigned filled = 0;
    for (unsigned i = 0; i < capacity; ++i) {
        if (entries_[i].handle != invalid_handle)
            requests[filled++] = {page(entries_[i]), 0, entries_[i].handle, 0};
        if (filled == group || (i + 1 == capacity && filled != 0)) {
            if (!kernel::grant::unmap(requests, filled))
                kernel::printk(kernel::Level::error, "blkback: cannot unmap a guest's pages\n");
            filled = 0;
        }
    }
    delete[] entries_;
    entries_ = nullptr;
    pages_.release();
    mapped_ = 0;
}

PersistentGrants::Entry* PersistentGrants::acquire(kernel::grant::Ref ref, bool& is_new) noexcept {
    is_new = false;
    for (std::uint16_t at = bucket(ref); at != none; at = entries_[at].next)
        if (entries_[at].ref == ref) {
            ++entries_[at].users;
            entries_[at].recent = true;
            return &entries_[at];
        }
    if (free_ == none && !evict())
        return nullptr;
    const std::uint16_t index = free_;
    Entry& entry = entries_[index];
    free_ = entry.next;
    entry = {ref, invalid_handle, 0, 1, bucket(ref), true};
    bucket(ref) = index;
    is_new = true;
    return &entry;
}

void PersistentGrants::settle(Entry& entry, const kernel::grant::MapRequest& map) noexcept {
    if (map.status != 0)
        return;
    entry.handle = map.handle;
    entry.machine = map.bus_address;
    ++mapped_;
}

void PersistentGrants::put(Entry& entry) noexcept {
    if (--entry.users != 0 || entry.handle != invalid_handle)
        return;
    unlink(entry);
    make_free(entry);
}

void PersistentGrants::unlink(Entry& entry) noexcept {
    const auto index = static_cast<std::uint16_t>(&entry - entries_);
    std::uint16_t* at = &bucket(entry.ref);
    while (*at != index)
        at = &entries_[*at].next;
    *at = entry.next;
}

void PersistentGrants::make_free(Entry& entry) noexcept {
    entry = {};
    entry.next = free_;
    free_ = static_cast<std::uint16_t>(&entry - entries_);
}

bool PersistentGrants::evict() noexcept {
    // Two rounds: the first takes the marks of recent use away.
    for (unsigned tried = 0; tried < 2 * capacity; ++tried) {
        Entry& entry = entries_[hand_];
        hand_ = (hand_ + 1) % capacity;
        if (entry.users != 0 || entry.handle == invalid_handle)
            continue;
        if (entry.recent) {
            entry.recent = false;
            continue;
        }
        UnmapRequest request{page(entry), 0, entry.handle, 0};
        if (!kernel::grant::unmap(&request, 1) || request.status != 0)
            continue; // its page must not be mapped over
        --mapped_;
        unlink(entry);
        make_free(entry);
        return true;
    }
    return false;
}

} // namespace drivers::blkif
