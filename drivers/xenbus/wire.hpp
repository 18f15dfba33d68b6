// SPDX-License-Identifier: BSD-2-Clause
// XenStore wire protocol: the byte rings of the shared page, and the assembly of messages from
// them.
#pragma once

#include <cero/abi/io/store.h>
#include <cero/lib/errno.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace drivers::xenbus {

using cero::Errno;

/// One direction of the store page. Works on shared memory: indexes are read once per call.
class ByteRing {
public:
    ByteRing() noexcept = default;
    ByteRing(char* data, std::uint32_t& consumer, std::uint32_t& producer) noexcept
        : data_{data}, consumer_{&consumer}, producer_{&producer} {}

    /// False when the indexes cannot be right; nothing moves then.
    [[nodiscard]] bool is_sane() const noexcept { return used() <= CERO_XENSTORE_RING_SIZE; }
    [[nodiscard]] std::size_t readable() const noexcept;
    [[nodiscard]] std::size_t writable() const noexcept;
    /// Moves up to `size` bytes; returns the count.
    std::size_t write(const void* from, std::size_t size) noexcept;
    std::size_t read(void* to, std::size_t size) noexcept;

private:
    [[nodiscard]] std::uint32_t used() const noexcept;
    char* data_{};
    std::uint32_t* consumer_{};
    std::uint32_t* producer_{};
};

/// Collects one message from pieces of any size.
class MessageAssembler {
public:
    enum class Need : std::uint8_t { header, payload, nothing, broken };

    /// What is missing. `nothing`: header() and payload() are complete. `broken`: length too large.
    [[nodiscard]] Need need() const noexcept;
    /// Where the next bytes go; empty unless need() is header or payload.
    [[nodiscard]] std::span<char> window() noexcept;
    /// `size` bytes were put into the window.
    void advance(std::size_t size) noexcept { filled_ += size; }
    [[nodiscard]] const cero_xenstore_message& header() const noexcept { return header_; }
    /// NUL-terminated. Precondition: need() is `nothing`.
    [[nodiscard]] char* payload() noexcept {
        payload_[header_.len] = '\0';
        return payload_;
    }
    void restart() noexcept { filled_ = 0; }

private:
    cero_xenstore_message header_{};
    char payload_[CERO_XENSTORE_PAYLOAD_MAX + 1]{};
    std::size_t filled_{};
};

/// The Errno that the name in an error reply means; inval for unknown names.
[[nodiscard]] Errno error_from_name(const char* name) noexcept;
[[nodiscard]] const char* error_name(Errno error) noexcept;

} // namespace drivers::xenbus
