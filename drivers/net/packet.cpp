// SPDX-License-Identifier: BSD-2-Clause
// PacketBuffer memory: one page per packet from a small cache, more pages for long packets.
#include <cero/driver/net.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <cstring>
#include <new>

namespace drivers {

namespace {

/// Pages kept ready for packets, so that the usual packet costs no trip to the page allocator.
struct PageCache {
    static constexpr unsigned capacity = 256;
    kernel::Spinlock lock;
    void* pages[capacity]{};
    unsigned count{};

    void* take() noexcept {
        {
            kernel::SpinGuard guard{lock};
            if (count != 0)
                return pages[--count];
        }
        return kernel::alloc_pages(0);
    }
    void give(void* page) noexcept {
        {
            kernel::SpinGuard guard{lock};
            if (count != capacity) {
                pages[count++] = page;
                return;
            }
        }
        kernel::free_pages(page, 0);
    }
};
constinit PageCache cache;

} // namespace

PacketBuffer* PacketBuffer::allocate() noexcept {
    void* page = cache.take();
    return page != nullptr ? ::new (page) PacketBuffer : nullptr;
}

void PacketBuffer::release() noexcept {
    if (references_.fetch_sub(1, cero::Order::acq_rel) != 1)
        return;
    for (unsigned i = 0; i < fragment_count; ++i)
        if (fragments[i].page != nullptr)
            cache.give(fragments[i].page);
    cache.give(this);
}

std::byte* PacketBuffer::append_page(std::size_t length) noexcept {
    if (fragment_count == max_fragments)
        return nullptr;
    void* page = cache.take();
    if (page == nullptr)
        return nullptr;
    fragments[fragment_count++] = {static_cast<std::byte*>(page),
                                   static_cast<std::uint32_t>(length), page};
    return static_cast<std::byte*>(page);
}

void PacketBuffer::absorb(PacketBuffer& other) noexcept {
    fragments[fragment_count] = other.fragments[0];
    fragments[fragment_count++].page = &other;
}

std::size_t PacketBuffer::copy_out(std::size_t offset, void* to, std::size_t size) const noexcept {
    auto* out = static_cast<std::byte*>(to);
    std::size_t done = 0;
    for (unsigned i = 0; i < fragment_count && done < size; ++i) {
        const PacketFragment& fragment = fragments[i];
        if (offset >= fragment.length) {
            offset -= fragment.length;
            continue;
        }
        const std::size_t there = fragment.length - offset;
        const std::size_t count = there < size - done ? there : size - done;
        std::memcpy(out + done, fragment.data + offset, count);
        done += count;
        offset = 0;
    }
    return done;
}

Status PacketBuffer::append(const void* from, std::size_t size) noexcept {
    const auto* in = static_cast<const std::byte*>(from);
    if (fragment_count == 0) {
        const std::size_t room = inline_size - default_headroom;
        const std::size_t count = size < room ? size : room;
        set_inline(default_headroom, count);
        std::memcpy(fragments[0].data, in, count);
        in += count;
        size -= count;
    }
    PacketFragment& last = fragments[fragment_count - 1];
    if (last.page == last.data && last.length < kernel::page_size) {
        const std::size_t room = kernel::page_size - last.length;
        const std::size_t count = size < room ? size : room;
        std::memcpy(last.data + last.length, in, count);
        last.length += static_cast<std::uint32_t>(count);
        in += count;
        size -= count;
    }
    while (size != 0) {
        const std::size_t count = size < kernel::page_size ? size : kernel::page_size;
        std::byte* page = append_page(count);
        if (page == nullptr)
            return fragment_count == max_fragments ? Errno::msgsize : Errno::nomem;
        std::memcpy(page, in, count);
        in += count;
        size -= count;
    }
    return {};
}

PacketBuffer* PacketBuffer::clone() const noexcept {
    PacketBuffer* copy = allocate();
    if (copy == nullptr)
        return nullptr;
    copy->checksum = checksum;
    copy->gso = gso;
    copy->checksum_start = checksum_start;
    copy->checksum_offset = checksum_offset;
    copy->gso_size = gso_size;
    std::size_t left = length();
    std::size_t offset = 0;
    while (left != 0) {
        const bool first = copy->fragment_count == 0;
        const std::size_t room = first ? inline_size - default_headroom : kernel::page_size;
        const std::size_t count = left < room ? left : room;
        std::byte* to;
        if (first) {
            copy->set_inline(default_headroom, count);
            to = copy->fragments[0].data;
        } else {
            to = copy->append_page(count);
        }
        if (to == nullptr) {
            copy->release();
            return nullptr;
        }
        offset += copy_out(offset, to, count);
        left -= count;
    }
    return copy;
}

} // namespace drivers
