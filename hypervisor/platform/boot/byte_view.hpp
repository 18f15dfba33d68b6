// SPDX-License-Identifier: BSD-2-Clause
// ByteView: bounded little-endian reads from foreign bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace cero::platform {

class ByteView {
public:
    constexpr ByteView() noexcept = default;
    explicit ByteView(std::span<const std::byte> bytes) noexcept : bytes_{bytes} {}
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
    [[nodiscard]] const std::byte* data() const noexcept { return bytes_.data(); }

    /// The T at an offset, or zero when it does not lie inside whole.
    template <typename T>
    requires std::is_trivially_copyable_v<T>
    [[nodiscard]] T read(std::size_t offset) const noexcept {
        T value{};
        if (offset <= bytes_.size() && bytes_.size() - offset >= sizeof(T))
            std::memcpy(&value, bytes_.data() + offset, sizeof(T));
        return value;
    }
    /// Clipped to what is there.
    [[nodiscard]] ByteView slice(std::size_t offset, std::size_t length) const noexcept {
        if (offset > bytes_.size()) return ByteView{};
        const std::size_t rest = bytes_.size() - offset;
        return ByteView{bytes_.subspan(offset, length < rest ? length : rest)};
    }
    [[nodiscard]] ByteView from(std::size_t offset) const noexcept { return slice(offset, bytes_.size()); }
    /// The text up to its NUL, or to the end.
    [[nodiscard]] std::string_view text() const noexcept {
        std::size_t length = 0;
        while (length < bytes_.size() && bytes_[length] != std::byte{0}) ++length;
        return {reinterpret_cast<const char*>(bytes_.data()), length};
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    std::span<const std::byte> bytes_;
};

} // namespace cero::platform
