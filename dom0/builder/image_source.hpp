// SPDX-License-Identifier: BSD-2-Clause
// ImageSource: bytes of a kernel or ramdisk, read where they are needed, from a file or from
// memory.
#pragma once

#include "base/file.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace cero::builder {

class ImageSource {
public:
    virtual ~ImageSource() = default;
    [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;
    /// Fills `out` from `offset`; false when the source ends before that or cannot be read.
    [[nodiscard]] virtual bool read(std::uint64_t offset, std::span<std::uint8_t> out) const = 0;
};

class MemorySource final : public ImageSource {
public:
    explicit MemorySource(std::vector<std::uint8_t> bytes) : bytes_{std::move(bytes)} {}
    [[nodiscard]] std::uint64_t size() const noexcept override { return bytes_.size(); }
    [[nodiscard]] bool read(std::uint64_t offset, std::span<std::uint8_t> out) const override;

private:
    std::vector<std::uint8_t> bytes_;
};

/// Opens a file; throws Error that calls it `role` ("kernel", "ramdisk").
[[nodiscard]] std::unique_ptr<ImageSource> open_image(const std::string& path,
                                                      std::string_view role);

/// A wrapped kernel is smaller than this, packed and unpacked: it passes through dom0's memory.
constexpr std::size_t unpacked_kernel_max = std::size_t{512} << 20;

/// Takes off what a kernel may be wrapped in (bzImage; gzip, xz, zstd or lz4), or returns the
/// source as it is. `path` is for messages. Throws Error for a broken, unknown or too large
/// wrapping.
[[nodiscard]] std::unique_ptr<ImageSource>
unwrap_kernel(std::unique_ptr<ImageSource> source, const std::string& path,
              std::size_t unpacked_max = unpacked_kernel_max);

} // namespace cero::builder
