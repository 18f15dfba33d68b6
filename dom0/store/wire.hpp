// SPDX-License-Identifier: BSD-2-Clause
// XenStore's wire format: 16-byte headers, NUL-separated arguments, and a decoder for byte streams.
#pragma once

#include <cero/lib/result.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cero::store {

enum class Op : std::uint32_t {
    control = 0,
    directory = 1,
    read = 2,
    get_perms = 3,
    watch = 4,
    unwatch = 5,
    transaction_start = 6,
    transaction_end = 7,
    introduce = 8,
    release = 9,
    get_domain_path = 10,
    write = 11,
    mkdir = 12,
    rm = 13,
    set_perms = 14,
    watch_event = 15,
    error = 16,
    is_domain_introduced = 17,
    resume = 18,
    set_target = 19,
    reset_watches = 21,
    directory_part = 22,
};

inline constexpr std::size_t header_size = 16;
inline constexpr std::size_t payload_max = 4096;
inline constexpr std::size_t absolute_path_max = 3072;
inline constexpr std::size_t relative_path_max = 2048;

struct Message {
    std::uint32_t type{};
    std::uint32_t request{};
    std::uint32_t transaction{};
    std::string payload;
    bool operator==(const Message&) const = default;
};

/// Header and payload as bytes. Precondition: the payload is at most payload_max long.
[[nodiscard]] std::string encode(const Message& message);
/// Appends the same to `out`.
void encode_to(std::string& out, Op type, std::uint32_t request, std::uint32_t transaction,
               std::string_view payload);

/// Takes a stream apart into messages. A message that announces more than payload_max bytes makes
/// the stream unusable for good: nothing after it can be trusted to start at a header.
class Decoder {
public:
    /// How many bytes feed() would like to see next; never zero unless the stream is broken.
    [[nodiscard]] std::size_t wanted() const noexcept;
    /// Takes bytes; consumes all of them unless the stream breaks.
    void feed(std::string_view bytes);
    /// The next whole message, if there is one.
    [[nodiscard]] std::optional<Message> next();
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }
    /// What was fed and is no whole message yet.
    [[nodiscard]] const std::string& rest() const noexcept { return buffer_; }

private:
    std::string buffer_;
    bool broken_{false};
};

/// Splits "a\0b\0c" into at most `limit` parts; the last part takes the rest, NULs included, and
/// without `keep_rest` one trailing NUL of it is dropped.
[[nodiscard]] std::vector<std::string_view> split_arguments(std::string_view payload,
                                                            std::size_t limit);
/// Every string of a payload in which each is closed by a NUL; std::nullopt when one is not.
[[nodiscard]] std::optional<std::vector<std::string_view>> strings_of(std::string_view payload);
/// The single argument of many requests: everything up to the only NUL.
[[nodiscard]] Result<std::string_view> only_string(std::string_view payload);

/// The name that XenStore sends for an error ("ENOENT"), and back (unknown names become EINVAL).
[[nodiscard]] std::string_view error_name(Errno error) noexcept;
[[nodiscard]] Errno error_from_name(std::string_view name) noexcept;

/// True for an absolute path or a special name ("@...") that XenStore accepts.
[[nodiscard]] bool is_valid_path(std::string_view path) noexcept;

} // namespace cero::store
