// SPDX-License-Identifier: BSD-2-Clause
// FrontPages: pages that a front end lends to its backend for good, and copies its data through.
#pragma once

#include <kernel/grant.hpp>

namespace drivers::blkif {

/// A bounded pool; the last page returned is the next one taken, so the backend's table stays warm.
/// The owner serialises all calls.
class FrontPages {
public:
    using Index = std::uint32_t;
    static constexpr Index none = ~Index{0};
    static constexpr unsigned capacity = 256;

    explicit FrontPages(kernel::DomainId backend) noexcept : backend_{backend} {}
    FrontPages(const FrontPages&) = delete;
    FrontPages& operator=(const FrontPages&) = delete;
    ~FrontPages() { withdraw(); }

    /// Makes so many pages at once. nomem, nospc.
    kernel::Status grow(unsigned count) noexcept;
    /// none: all are in use, and no more can be made.
    [[nodiscard]] Index take() noexcept;
    void put(Index index) noexcept;
    [[nodiscard]] std::byte* data(Index index) const noexcept { return pages_[index].data; }
    [[nodiscard]] kernel::grant::Ref ref(Index index) const noexcept { return pages_[index].ref; }
    /// Takes all pages back, those still mapped as soon as the backend lets go.
    void withdraw() noexcept;

private:
    struct LentPage {
        std::byte* data;
        kernel::grant::Ref ref;
        Index next;
    };
    kernel::DomainId backend_;
    LentPage* pages_{};
    unsigned count_{};
    Index free_{none};
};

} // namespace drivers::blkif
