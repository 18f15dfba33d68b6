// SPDX-License-Identifier: BSD-2-Clause
#include <arch/api/uaccess.hpp>

#include <arch/x86_64/trap/guest_words.hpp>

extern "C" {
std::uint64_t copy_guest_bytes(void* to, const void* from, std::uint64_t bytes);
std::uint64_t clear_guest_bytes(void* to, std::uint64_t bytes);
struct ExtableEntry {
    std::int32_t fault, fixup; ///< relative to the field itself
};
extern const ExtableEntry extable_start[], extable_end[];
}

namespace cero::arch {
namespace {

/// The whole range is outside the hypervisor's hole and does not wrap. (What is not canonical
/// faults.)
bool is_guest_range(GuestVirt address, std::size_t bytes) noexcept {
    const std::uint64_t first = address.raw();
    std::uint64_t end = 0;
    return !__builtin_add_overflow(first, bytes, &end) &&
           (end <= CERO_HYPERVISOR_VIRT_START || first >= CERO_HYPERVISOR_VIRT_END);
}

} // namespace

bool copy_from_guest_any(void* to, GuestVirt from, std::size_t bytes) noexcept {
    return is_guest_range(from, bytes) && copy_guest_bytes(to, reinterpret_cast<const void*>(from.raw()), bytes) == 0;
}

bool copy_to_guest_any(GuestVirt to, const void* from, std::size_t bytes) noexcept {
    return is_guest_range(to, bytes) && copy_guest_bytes(reinterpret_cast<void*>(to.raw()), from, bytes) == 0;
}

bool clear_guest(GuestVirt to, std::size_t bytes) noexcept {
    return is_guest_range(to, bytes) && clear_guest_bytes(reinterpret_cast<void*>(to.raw()), bytes) == 0;
}

std::uint64_t find_fixup(std::uint64_t rip) noexcept {
    const auto target = [](const std::int32_t& field) {
        return reinterpret_cast<std::uint64_t>(&field) + static_cast<std::uint64_t>(std::int64_t{field});
    };
    for (const ExtableEntry* entry = extable_start; entry < extable_end; ++entry)
        if (target(entry->fault) == rip) return target(entry->fixup);
    return 0;
}

} // namespace cero::arch
