// SPDX-License-Identifier: BSD-2-Clause
#include <kernel/thread.hpp>
#include <kernel/user_copy.hpp>

extern "C" {
std::size_t copy_user_raw(void* to, const void* from, std::size_t size);
std::size_t clear_user_raw(void* to, std::size_t size);
long copy_string_raw(char* to, const char* from, std::size_t size);
}

namespace kernel {
namespace {

bool is_user_range(UserAddress address, std::size_t size) noexcept {
    return address <= user_limit && size <= user_limit - address && current_process() != nullptr;
}

} // namespace

Status copy_from_user(void* to, UserAddress from, std::size_t size) noexcept {
    if (!is_user_range(from, size) ||
        copy_user_raw(to, reinterpret_cast<const void*>(from), size) != 0)
        return Errno::fault;
    return {};
}

Status copy_to_user(UserAddress to, const void* from, std::size_t size) noexcept {
    if (!is_user_range(to, size) || copy_user_raw(reinterpret_cast<void*>(to), from, size) != 0)
        return Errno::fault;
    return {};
}

Status clear_user(UserAddress to, std::size_t size) noexcept {
    if (!is_user_range(to, size) || clear_user_raw(reinterpret_cast<void*>(to), size) != 0)
        return Errno::fault;
    return {};
}

Result<std::size_t> copy_string_from_user(char* to, UserAddress from, std::size_t size) noexcept {
    if (!is_user_range(from, 1))
        return Errno::fault;
    const std::size_t reach = user_limit - from < size ? user_limit - from : size;
    const long length = copy_string_raw(to, reinterpret_cast<const char*>(from), reach);
    if (length < 0)
        return Errno::fault;
    if (static_cast<std::size_t>(length) == reach)
        return reach == size ? Errno::nametoolong : Errno::fault;
    return static_cast<std::size_t>(length);
}

} // namespace kernel
