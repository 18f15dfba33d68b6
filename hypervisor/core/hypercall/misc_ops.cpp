// SPDX-License-Identifier: BSD-2-Clause
// xen_version, console_io, vm_assist.
#include <core/hypercall/handlers.hpp>

#include <arch/api/boot.hpp>
#include <arch/api/clock.hpp>
#include <arch/api/console.hpp>
#include <core/domain/domain.hpp>

namespace cero {
namespace {

constexpr std::int64_t reported_version = 4 << 16 | 17;

/// Writes text into a field of `Size` bytes, the rest zeroed.
template <std::size_t Size> Status write_text(std::uint64_t argument, const char* text) {
    struct Field {
        char bytes[Size];
    } field{};
    for (std::size_t n = 0; n + 1 < Size && text[n] != '\0'; ++n) field.bytes[n] = text[n];
    return GuestPtr<Field>{argument}.write(field);
}

Status write_features(Vcpu& current, cero_feature_info& info) {
    if (info.submap_idx != 0) return Errno::inval;
    info.submap = 1u << CERO_FEATURE_mmu_pt_update_preserve_ad | 1u << CERO_FEATURE_highmem_assist |
                  1u << CERO_FEATURE_gnttab_map_avail_bits;
    if (current.domain->is_control) info.submap |= 1u << CERO_FEATURE_dom0;
    return {};
}

Status write_identity(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    switch (command) {
    case CERO_XENVER_extraversion: return write_text<16>(argument, ".0-cero");
    case CERO_XENVER_compile_info: return GuestPtr<cero_compile_info>{argument}.write({CERO_COMPILER, "cero", "", ""});
    case CERO_XENVER_capabilities: return write_text<1024>(argument, "xen-3.0-x86_64 ");
    case CERO_XENVER_changeset: return write_text<64>(argument, "cero");
    case CERO_XENVER_platform_parameters:
        return GuestPtr<cero_platform_parameters>{argument}.write({CERO_HYPERVISOR_VIRT_START});
    case CERO_XENVER_get_features: return with_structure(current, argument, &write_features);
    case CERO_XENVER_guest_handle:
        if (!arch::copy_to_guest(GuestVirt{argument}, current.domain->handle, 16)) return Errno::fault;
        return {};
    case CERO_XENVER_commandline:
        if (!current.domain->is_control) return Errno::perm;
        return write_text<1024>(argument, arch::boot_command_line());
    case CERO_XENVER_build_id: return Errno::nodata;
    default: return Errno::nosys;
    }
}

constexpr std::uint32_t console_bytes_per_second = 6 * 1024; // half of what a serial line of 115200 baud carries
constexpr std::uint32_t console_line_cost = 26;              // time stamp, domain and line end

/// Takes from what the domain may still write in this second.
bool spend_credit(Domain& domain, std::uint32_t bytes) {
    const std::uint64_t second = arch::system_time().raw() / 1'000'000'000;
    if (domain.console_second != second) {
        domain.console_second = second;
        domain.console_credit = console_bytes_per_second;
    }
    if (domain.console_credit < bytes) return false;
    domain.console_credit -= bytes;
    return true;
}

/// An unprivileged domain writes to the log, with its number in front: one line that is not empty, as it takes long.
/// Returns how many bytes that were.
std::uint32_t write_as_log(Domain& domain, const char* text, std::uint32_t bytes) {
    LockGuard guard{domain.lock};
    for (std::uint32_t n = 0; n < bytes; ++n) {
        const char c = text[n];
        if (c != '\n' && (c < ' ' || c > '~') && c != '\t') continue;
        if (c != '\n') domain.console_line[domain.console_length++] = c;
        const std::uint32_t length = domain.console_length;
        if (length == 0 || (c != '\n' && length < sizeof domain.console_line)) continue;
        domain.console_length = 0;
        if (!spend_credit(domain, length + console_line_cost)) continue;
        arch::log(arch::Level::info, "(d%u) %.*s", domain.id.raw(), static_cast<int>(length), domain.console_line);
        return n + 1;
    }
    return bytes;
}

constexpr std::uint32_t console_chunk = 256;

Status console_write(Vcpu& current, std::uint32_t count, std::uint64_t buffer) {
    char chunk[console_chunk];
    while (count != 0) {
        std::uint32_t now = count < console_chunk ? count : console_chunk;
        if (!arch::copy_from_guest(chunk, GuestVirt{buffer}, now)) return Errno::fault;
        if (current.domain->is_control)
            arch::console_write(chunk, now);
        else
            now = write_as_log(*current.domain, chunk, now);
        buffer += now;
        count -= now;
        if (count != 0 && arch::preemption_point())
            return hypercall_continue(current, CERO_CONSOLEIO_write, count, buffer);
    }
    return {};
}

Result<std::int64_t> console_read(Vcpu& current, std::uint32_t count, std::uint64_t buffer) {
    if (!current.domain->is_control) return Errno::perm;
    char chunk[console_chunk];
    const std::size_t got = arch::console_read(chunk, count < console_chunk ? count : console_chunk);
    if (!arch::copy_to_guest(GuestVirt{buffer}, chunk, got)) return Errno::fault;
    return static_cast<std::int64_t>(got);
}

} // namespace

Result<std::int64_t> version_op(Vcpu& current, std::uint32_t command, std::uint64_t argument) {
    if (command == CERO_XENVER_version) return std::int64_t{reported_version};
    if (command == CERO_XENVER_pagesize) return static_cast<std::int64_t>(page_size);
    return -static_cast<std::int64_t>(write_identity(current, command, argument).error());
}

Result<std::int64_t> console_op(Vcpu& current, std::uint32_t command, std::uint32_t count, std::uint64_t buffer) {
    switch (command) {
    case CERO_CONSOLEIO_write: return -static_cast<std::int64_t>(console_write(current, count, buffer).error());
    case CERO_CONSOLEIO_read: return console_read(current, count, buffer);
    default: return Errno::nosys;
    }
}

Status vm_assist_op(Vcpu& current, std::uint32_t command, std::uint32_t type) {
    // 4gb_segments and pae_extended_cr3 concern 32-bit guests: accepted, without effect.
    constexpr std::uint64_t known =
        1ull << CERO_VMASST_TYPE_4gb_segments | 1ull << CERO_VMASST_TYPE_4gb_segments_notify |
        1ull << CERO_VMASST_TYPE_writable_pagetables | 1ull << CERO_VMASST_TYPE_pae_extended_cr3 |
        1ull << CERO_VMASST_TYPE_runstate_update_flag;
    if (type >= 64 || (known >> type & 1) == 0) return Errno::inval;
    const std::uint64_t bit = 1ull << type;
    switch (command) {
    case CERO_VMASST_CMD_enable: __atomic_fetch_or(&current.domain->vm_assist, bit, __ATOMIC_RELAXED); return {};
    case CERO_VMASST_CMD_disable: __atomic_fetch_and(&current.domain->vm_assist, ~bit, __ATOMIC_RELAXED); return {};
    default: return Errno::nosys;
    }
}

} // namespace cero
