// SPDX-License-Identifier: BSD-2-Clause
// Anonymous memory that processes share: mmap with MAP_SHARED and MAP_ANONYMOUS.
#pragma once

#include <kernel/mapping.hpp>

namespace kernel {

/// Pages come when first touched and stay until the last mapping goes.
class SharedMemory final : public Mappable {
public:
    /// Born with no mapping; map_get() follows.
    [[nodiscard]] static Result<SharedMemory*> create(std::size_t pages) noexcept;
    Result<Page*> get_page(std::uint64_t index, bool for_write) override;
    Page* peek_page(std::uint64_t index) override;
    void map_get() override;
    void map_put() override;

private:
    void discard() noexcept;
    SharedMemory(Page** pages, std::size_t count) noexcept : pages_{pages}, count_{count} {}
    ~SharedMemory() = default;
    Page** pages_;
    std::size_t count_;
    std::uint32_t users_{};
};

} // namespace kernel
