// SPDX-License-Identifier: BSD-2-Clause
// XenStore's wire format: encoding, stream decoding, arguments, error names, path rules.
#include "store/wire.hpp"

#include <array>
#include <cstring>
#include <utility>

namespace cero::store {

namespace {

void put_u32(std::string& out, std::uint32_t value) {
    char bytes[4];
    std::memcpy(bytes, &value, sizeof bytes);
    out.append(bytes, sizeof bytes);
}

std::uint32_t get_u32(std::string_view bytes, std::size_t offset) noexcept {
    std::uint32_t value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

constexpr std::size_t length_offset = 12;

constexpr std::array<std::pair<Errno, std::string_view>, 16> names{{
    {Errno::inval, "EINVAL"},
    {Errno::acces, "EACCES"},
    {Errno::exist, "EEXIST"},
    {Errno::isdir, "EISDIR"},
    {Errno::noent, "ENOENT"},
    {Errno::nomem, "ENOMEM"},
    {Errno::nospc, "ENOSPC"},
    {Errno::io, "EIO"},
    {Errno::notempty, "ENOTEMPTY"},
    {Errno::nosys, "ENOSYS"},
    {Errno::rofs, "EROFS"},
    {Errno::busy, "EBUSY"},
    {Errno::again, "EAGAIN"},
    {Errno::isconn, "EISCONN"},
    {Errno::too_big, "E2BIG"},
    {Errno::perm, "EPERM"},
}};

} // namespace

void encode_to(std::string& out, Op type, std::uint32_t request, std::uint32_t transaction,
               std::string_view payload) {
    put_u32(out, std::to_underlying(type));
    put_u32(out, request);
    put_u32(out, transaction);
    put_u32(out, static_cast<std::uint32_t>(payload.size()));
    out.append(payload);
}

std::string encode(const Message& message) {
    std::string out;
    out.reserve(header_size + message.payload.size());
    encode_to(out, static_cast<Op>(message.type), message.request, message.transaction,
              message.payload);
    return out;
}

std::size_t Decoder::wanted() const noexcept {
    if (broken_)
        return 0;
    if (buffer_.size() < header_size)
        return header_size - buffer_.size();
    const std::size_t total = header_size + get_u32(buffer_, length_offset);
    return total > buffer_.size() ? total - buffer_.size() : header_size;
}

void Decoder::feed(std::string_view bytes) {
    if (broken_)
        return;
    buffer_.append(bytes);
    if (buffer_.size() >= header_size && get_u32(buffer_, length_offset) > payload_max)
        broken_ = true;
}

std::optional<Message> Decoder::next() {
    if (broken_ || buffer_.size() < header_size)
        return std::nullopt;
    const std::size_t length = get_u32(buffer_, length_offset);
    if (length > payload_max) {
        broken_ = true;
        return std::nullopt;
    }
    if (buffer_.size() < header_size + length)
        return std::nullopt;
    Message message{get_u32(buffer_, 0), get_u32(buffer_, 4), get_u32(buffer_, 8),
                    buffer_.substr(header_size, length)};
    buffer_.erase(0, header_size + length);
    if (buffer_.size() >= header_size && get_u32(buffer_, length_offset) > payload_max)
        broken_ = true;
    return message;
}

std::vector<std::string_view> split_arguments(std::string_view payload, std::size_t limit) {
    std::vector<std::string_view> parts;
    while (parts.size() + 1 < limit) {
        const std::size_t nul = payload.find('\0');
        if (nul == std::string_view::npos)
            break;
        parts.push_back(payload.substr(0, nul));
        payload.remove_prefix(nul + 1);
        if (payload.empty())
            return parts;
    }
    if (!payload.empty() || parts.empty())
        parts.push_back(payload);
    return parts;
}

std::optional<std::vector<std::string_view>> strings_of(std::string_view payload) {
    std::vector<std::string_view> parts;
    while (!payload.empty()) {
        const std::size_t nul = payload.find('\0');
        if (nul == std::string_view::npos)
            return std::nullopt;
        parts.push_back(payload.substr(0, nul));
        payload.remove_prefix(nul + 1);
    }
    return parts;
}

Result<std::string_view> only_string(std::string_view payload) {
    const auto strings = strings_of(payload);
    if (!strings || strings->size() != 1)
        return Errno::inval;
    return strings->front();
}

std::string_view error_name(Errno error) noexcept {
    for (const auto& [value, name] : names)
        if (value == error)
            return name;
    return "EINVAL";
}

Errno error_from_name(std::string_view name) noexcept {
    for (const auto& [value, text] : names)
        if (text == name)
            return value;
    return Errno::inval;
}

bool is_valid_path(std::string_view path) noexcept {
    if (path.empty())
        return false;
    if (path.front() == '@')
        return path.size() <= 64 && path.find('/') == std::string_view::npos;
    if (path.front() != '/' || path.size() > absolute_path_max)
        return false;
    if (path == "/")
        return true;
    if (path.back() == '/')
        return false;
    char previous = '\0';
    for (const char c : path) {
        const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '-' || c == '/' || c == '_' || c == '@';
        if (!allowed || (c == '/' && previous == '/'))
            return false;
        previous = c;
    }
    return true;
}

} // namespace cero::store
