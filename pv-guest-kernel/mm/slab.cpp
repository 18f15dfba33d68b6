// SPDX-License-Identifier: BSD-2-Clause
#include "mm/slab.hpp"

#include <kernel/log.hpp>
#include <kernel/page.hpp>
#include <kernel/sync.hpp>

#include <cstring>

// A slab is one page cut into objects of one size. Its Page holds the state: `references` the
// objects in use, `index` the first free object, `flags` the size class, `link` the class' list of
// slabs with room.

namespace kernel {
namespace {

constexpr std::uint16_t sizes[] = {16,  32,  48,  64,  96,   128,  192, 256,
                                   336, 448, 576, 800, 1024, 1360, 2048};
constexpr unsigned class_count = sizeof sizes / sizeof sizes[0];
constexpr std::size_t largest = sizes[class_count - 1];

using SlabList = cero::IntrusiveList<Page, &Page::link>;

struct SizeClass {
    SlabList partial;
    unsigned empty; ///< slabs in `partial` without a used object
};

Spinlock lock;
SizeClass classes[class_count];
std::uint64_t page_count;

struct ClassMap {
    std::uint8_t index[largest / 16 + 1];
    constexpr ClassMap() : index{} {
        unsigned at = 0;
        for (std::size_t i = 0; i <= largest / 16; ++i) {
            while (sizes[at] < i * 16)
                ++at;
            index[i] = static_cast<std::uint8_t>(at);
        }
    }
};
constexpr ClassMap class_map;

Page* new_slab(unsigned cls) noexcept {
    Page* slab = alloc_page(PageUse::slab);
    if (slab == nullptr)
        return nullptr;
    const std::size_t size = sizes[cls];
    auto* base = static_cast<char*>(slab->data());
    void* next = nullptr;
    for (std::size_t at = (page_size / size) * size; at != 0;) {
        at -= size;
        *reinterpret_cast<void**>(base + at) = next;
        next = base + at;
    }
    slab->references = 0;
    slab->index = reinterpret_cast<std::uint64_t>(next);
    slab->flags = static_cast<std::uint16_t>(cls);
    slab->link = {};
    return slab;
}

} // namespace

std::uint64_t slab_pages() noexcept {
    return page_count;
}

void* kmalloc(std::size_t size) noexcept {
    if (size > largest) {
        unsigned order = 0;
        while ((page_size << order) < size)
            if (++order > 10)
                return nullptr;
        return alloc_pages(order);
    }
    const unsigned cls = class_map.index[(size + 15) / 16];
    SizeClass& size_class = classes[cls];
    for (;;) {
        {
            SpinGuard guard{lock};
            Page* slab = size_class.partial.front();
            if (slab != nullptr) {
                if (slab->references++ == 0)
                    --size_class.empty;
                void* object = reinterpret_cast<void*>(slab->index);
                slab->index = *static_cast<std::uint64_t*>(object);
                if (slab->index == 0)
                    SlabList::remove(*slab);
                return object;
            }
        }
        Page* slab = new_slab(cls); // unlocked: reclaim behind it may free blocks
        if (slab == nullptr)
            return nullptr;
        SpinGuard guard{lock};
        size_class.partial.push_front(*slab);
        ++size_class.empty;
        ++page_count;
    }
}

void kfree(void* block) noexcept {
    if (block == nullptr)
        return;
    Page* slab = page_of(block);
    if (slab->use != PageUse::slab) {
        if (slab->use != PageUse::kernel ||
            (reinterpret_cast<std::uintptr_t>(block) & page_mask) != 0)
            panic("kfree(%p): not a block of the heap", block);
        free_pages(block, slab->order);
        return;
    }
    SpinGuard guard{lock};
    SizeClass& size_class = classes[slab->flags];
    if (slab->index == 0)
        size_class.partial.push_front(*slab);
    *static_cast<std::uint64_t*>(block) = slab->index;
    slab->index = reinterpret_cast<std::uint64_t>(block);
    if (--slab->references != 0)
        return;
    if (size_class.empty != 0) { // one empty slab per class is kept
        SlabList::remove(*slab);
        --page_count;
        slab->references = 1;
        slab->put();
    } else {
        ++size_class.empty;
        SlabList::remove(*slab);
        size_class.partial.push_back(*slab);
    }
}

void* kzalloc(std::size_t size) noexcept {
    void* block = kmalloc(size);
    if (block != nullptr)
        memset(block, 0, size);
    return block;
}

void* krealloc(void* block, std::size_t size) noexcept {
    if (block == nullptr)
        return kmalloc(size);
    const Page* page = page_of(block);
    const std::size_t have =
        page->use == PageUse::slab ? sizes[page->flags] : page_size << page->order;
    if (size <= have)
        return block;
    void* larger = kmalloc(size);
    if (larger == nullptr)
        return nullptr;
    memcpy(larger, block, have);
    kfree(block);
    return larger;
}

} // namespace kernel

// Allocation failure is a null pointer: only the nothrow form exists.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return kernel::kmalloc(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return kernel::kmalloc(size);
}
void operator delete(void* block) noexcept {
    kernel::kfree(block);
}
void operator delete[](void* block) noexcept {
    kernel::kfree(block);
}
void operator delete(void* block, std::size_t) noexcept {
    kernel::kfree(block);
}
void operator delete[](void* block, std::size_t) noexcept {
    kernel::kfree(block);
}
void operator delete(void* block, const std::nothrow_t&) noexcept {
    kernel::kfree(block);
}
