// SPDX-License-Identifier: BSD-2-Clause
// GrantPages: kernel address space in which a backend maps pages of its guest, page by page.
#pragma once

#include <kernel/grant.hpp>
#include <kernel/memory.hpp>

#include <cstddef>

namespace drivers {

/// Owner of a run of reserved pages. Whoever maps into them unmaps before release.
class GrantPages {
public:
    GrantPages() noexcept = default;
    GrantPages(const GrantPages&) = delete;
    GrantPages& operator=(const GrantPages&) = delete;
    ~GrantPages() { release(); }

    [[nodiscard]] kernel::Status reserve(std::size_t count) {
        base_ = static_cast<std::byte*>(TRY(kernel::reserve_kernel_pages(count)));
        count_ = count;
        return {};
    }
    void release() noexcept {
        if (base_ != nullptr)
            kernel::release_kernel_pages(base_, count_);
        base_ = nullptr;
        count_ = 0;
    }
    [[nodiscard]] std::byte* page(std::size_t index) const noexcept {
        return base_ + index * kernel::page_size;
    }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }

private:
    std::byte* base_{};
    std::size_t count_{};
};

/// A shared ring of the guest's, mapped: up to max_pages pages, contiguous. Unmaps itself.
class MappedRing {
public:
    static constexpr unsigned max_pages = 4;
    MappedRing() noexcept = default;
    MappedRing(const MappedRing&) = delete;
    MappedRing& operator=(const MappedRing&) = delete;
    ~MappedRing() { unmap(); }

    [[nodiscard]] kernel::Status map(kernel::DomainId domain, const kernel::grant::Ref* refs,
                                     unsigned count);
    void unmap() noexcept;
    [[nodiscard]] void* data() const noexcept { return pages_.page(0); }
    [[nodiscard]] std::size_t bytes() const noexcept { return count_ * kernel::page_size; }

private:
    GrantPages pages_;
    kernel::grant::Handle handles_[max_pages]{};
    unsigned count_{};
};

} // namespace drivers
