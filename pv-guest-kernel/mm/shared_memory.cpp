// SPDX-License-Identifier: BSD-2-Clause
#include "mm/shared_memory.hpp"

namespace kernel {

Result<SharedMemory*> SharedMemory::create(std::size_t pages) noexcept {
    auto** list = static_cast<Page**>(kzalloc(pages * sizeof(Page*)));
    void* storage = kmalloc(sizeof(SharedMemory));
    if (list == nullptr || storage == nullptr) {
        kfree(list);
        kfree(storage);
        return Errno::nomem;
    }
    return ::new (storage) SharedMemory{list, pages};
}

Result<Page*> SharedMemory::get_page(std::uint64_t index, bool) {
    if (index >= count_)
        return Errno::nxio;
    if (pages_[index] == nullptr) {
        pages_[index] = alloc_zeroed(PageUse::anonymous);
        if (pages_[index] == nullptr)
            return Errno::nomem;
    }
    pages_[index]->get();
    return pages_[index];
}

Page* SharedMemory::peek_page(std::uint64_t index) {
    if (index >= count_ || pages_[index] == nullptr)
        return nullptr;
    pages_[index]->get();
    return pages_[index];
}

void SharedMemory::map_get() {
    ++users_;
}

void SharedMemory::map_put() {
    if (--users_ == 0)
        discard();
}

void SharedMemory::discard() noexcept {
    for (std::size_t i = 0; i < count_; ++i)
        if (pages_[i] != nullptr)
            pages_[i]->put();
    kfree(pages_);
    this->~SharedMemory();
    kfree(this);
}

} // namespace kernel
