// SPDX-License-Identifier: BSD-2-Clause
// The pool of pages that stay lent.
#include "front_pages.hpp"

#include <kernel/memory.hpp>

#include <new>

namespace drivers::blkif {

kernel::Status FrontPages::grow(unsigned count) noexcept {
    if (pages_ == nullptr)
        pages_ = new (std::nothrow) LentPage[capacity];
    if (pages_ == nullptr)
        return kernel::Errno::nomem;
    for (; count != 0; --count) {
        if (count_ == capacity)
            return kernel::Errno::nospc;
        // Zeroed: the backend can read all of it.
        auto* const data = static_cast<std::byte*>(kernel::alloc_zeroed_page());
        if (data == nullptr)
            return kernel::Errno::nomem;
        const auto ref = kernel::grant::offer(backend_, kernel::virt_to_mfn(data), false);
        if (!ref) {
            kernel::free_pages(data, 0);
            return ref.error();
        }
        pages_[count_] = {data, *ref, none};
        put(count_++);
    }
    return {};
}

FrontPages::Index FrontPages::take() noexcept {
    if (free_ == none && !grow(1))
        return none;
    const Index index = free_;
    free_ = pages_[index].next;
    return index;
}

void FrontPages::put(Index index) noexcept {
    pages_[index].next = free_;
    free_ = index;
}

void FrontPages::withdraw() noexcept {
    while (count_ != 0) {
        --count_;
        kernel::grant::withdraw_deferred(pages_[count_].ref, pages_[count_].data);
    }
    delete[] pages_;
    pages_ = nullptr;
    free_ = none;
}

} // namespace drivers::blkif
