// SPDX-License-Identifier: BSD-2-Clause
#include <arch/x86_64/mm/hv_tables.hpp>

#include <arch/api/console.hpp>
#include <arch/api/memory.hpp>
#include <arch/x86_64/cpu/registers.hpp>
#include <arch/x86_64/layout.h>
#include <cero/abi/hypercall.h>

#include <cstring>

extern "C" {
extern const char image_text_start[], image_rodata_start[], image_data_start[], image_end[];
}

namespace cero::arch {
namespace {

constexpr std::uint64_t table_flags = pte::present | pte::writable | pte::accessed | pte::user;
constexpr std::uint64_t size_2m = 1ull << 21, size_1g = 1ull << 30;
constexpr std::uint64_t below_4g = 1ull << 32;
constexpr std::uint64_t guest_m2p_base = CERO_M2P_VIRT_START;
constexpr std::uint64_t mmio_pages = 512; ///< one level-1 table

EarlyMemory* early;
std::uint64_t root;        ///< physical
std::uint64_t frame_limit; ///< max_frame()
std::uint64_t early_taken; ///< pages from early_pages
std::uint64_t mmio_used;   ///< pages of the MMIO window
constexpr unsigned max_exclusive = 16;
std::uint64_t exclusive_frames[max_exclusive];
unsigned exclusive_count;

std::uint64_t* table_at(std::uint64_t physical) noexcept {
    return frame_ptr<std::uint64_t>(to_frame(PhysAddr{physical}));
}

/// The entry that maps `address` at `level` (1..4), tables on the way made as needed.
std::uint64_t* walk(std::uint64_t address, unsigned level) noexcept {
    std::uint64_t* table = table_at(root);
    for (unsigned at = 4; at > level; --at) {
        std::uint64_t& entry = table[(address >> (12 + 9 * (at - 1))) & 511];
        if ((entry & pte::present) == 0) entry = early_pages(1) | table_flags;
        table = table_at(entry & pte::address_mask);
    }
    return &table[(address >> (12 + 9 * (level - 1))) & 511];
}

/// Largest pages that alignment and length allow.
void map_range(std::uint64_t address, std::uint64_t physical, std::uint64_t bytes, std::uint64_t flags) noexcept {
    while (bytes != 0) {
        const std::uint64_t both = address | physical;
        const bool fits_2m = (both & (size_2m - 1)) == 0 && bytes >= size_2m;
        const bool fits_1g = features.pages_1g && (both & (size_1g - 1)) == 0 && bytes >= size_1g;
        const std::uint64_t step = fits_1g ? size_1g : fits_2m ? size_2m : page_size;
        *walk(address, fits_1g ? 3 : fits_2m ? 2 : 1) = physical | flags | (fits_2m ? pte::large : 0);
        address += step;
        physical += step;
        bytes -= step;
    }
}

void map_image() noexcept {
    const auto text = reinterpret_cast<std::uint64_t>(image_text_start);
    const auto rodata = reinterpret_cast<std::uint64_t>(image_rodata_start);
    const auto data = reinterpret_cast<std::uint64_t>(image_data_start);
    const auto end = reinterpret_cast<std::uint64_t>(image_end);
    const auto part = [](std::uint64_t from, std::uint64_t to, std::uint64_t flags) {
        for (std::uint64_t at = from; at < to; at += page_size) *walk(at, 1) = (at - CERO_IMAGE_OFFSET) | flags;
    };
    part(text, rodata, pte::text);
    part(rodata, data, pte::read_only);
    part(data, end, pte::data);
}

void map_direct() noexcept {
    for (const MemoryRange& range : memory_map()) {
        if (range.type != MemoryType::ram) continue;
        const std::uint64_t first = (range.base + 4095) & ~4095ull;
        const std::uint64_t last = (range.base + range.size) & ~4095ull;
        if (first < last) map_range(CERO_DIRECT_MAP_VIRT + first, first, last - first, pte::data);
    }
    // The page with the image, seen through the direct map, stays writable data: never executable
    // there.
}

/// Maps `bytes` of fresh memory; its content is the caller's to set.
void map_array(std::uint64_t address, std::uint64_t bytes, std::uint64_t alias) noexcept {
    const std::uint64_t large = bytes / size_2m * size_2m;
    for (std::uint64_t at = 0; at < bytes;) {
        const std::uint64_t step = at < large ? size_2m : page_size;
        const std::uint64_t physical = early->allocate(step, step, below_4g);
        if (physical == 0) panic("too little memory for the frame table");
        early_taken += step / page_size;
        map_range(address + at, physical, step, pte::data);
        if (alias != 0) // readable by guests: the guest kernel runs in ring 3
            map_range(alias + at, physical, step, (pte::read_only & ~pte::global) | pte::user);
        at += step;
    }
}

void map_frame_arrays() noexcept {
    const std::uint64_t bytes = (frame_limit * 8 + 4095) & ~4095ull;
    map_array(m2p_alias_base, bytes, guest_m2p_base);
    map_array(frame_table_base, bytes, 0);
}

} // namespace

void build_hypervisor_tables(EarlyMemory& memory) noexcept {
    early = &memory;
    frame_limit = (memory.ram_end() + 4095) >> page_shift;
    root = early_pages(1);
    for (unsigned slot = 0; slot < hypervisor_slot_count; ++slot)
        static_cast<void>(walk(((first_hypervisor_slot + slot) * (1ull << 39)) | 0xffff000000000000ull, 3));
    map_image();
    map_direct();
    map_frame_arrays();
    static_cast<void>(walk(CERO_MMIO_VIRT, 1));
    write_cr3(root);
    std::memset(reinterpret_cast<void*>(m2p_alias_base), 0xff, frame_limit * 8);
    std::memset(reinterpret_cast<void*>(frame_table_base), 0, frame_limit * 8);
}

void map_hypervisor_page(std::uint64_t address, std::uint64_t physical, std::uint64_t flags) noexcept {
    *walk(address, 1) = physical | flags;
}

std::uint64_t* hypervisor_entry(std::uint64_t address) noexcept { return walk(address, 1); }

std::uint64_t map_device(std::uint64_t physical, std::uint64_t bytes, bool exclusive) noexcept {
    const std::uint64_t first = physical & ~4095ull;
    const std::uint64_t pages = (physical + bytes - first + 4095) >> page_shift;
    if (pages > mmio_pages - mmio_used) return 0;
    const std::uint64_t address = CERO_MMIO_VIRT + mmio_used * page_size;
    for (std::uint64_t n = 0; n < pages; ++n) {
        *walk(address + n * page_size, 1) = (first + n * page_size) | pte::device;
        if (exclusive && exclusive_count < max_exclusive)
            exclusive_frames[exclusive_count++] = (first >> page_shift) + n;
    }
    mmio_used += pages;
    return address + (physical - first);
}

std::uint64_t early_pages(std::uint64_t count) noexcept {
    const std::uint64_t physical = early->allocate(count * page_size, page_size, below_4g);
    if (physical == 0) panic("too little memory to start");
    early_taken += count;
    std::memset(table_at(physical), 0, count * page_size);
    return physical;
}

std::uint64_t hypervisor_root() noexcept { return root; }
std::uint64_t hypervisor_frames() noexcept {
    return early_taken + (reinterpret_cast<std::uint64_t>(image_end) - CERO_IMAGE_VIRT) / page_size;
}

MachineFrame max_frame() noexcept { return MachineFrame{frame_limit}; }

bool frame_is_ram(MachineFrame frame) noexcept {
    const std::uint64_t first = frame.raw() << page_shift;
    if (frame.raw() < low_frames) return false;
    for (const MemoryRange& range : memory_map())
        if (range.type == MemoryType::ram && first >= range.base && first + page_size <= range.base + range.size)
            return true;
    return false;
}

bool frame_is_guest_io(MachineFrame frame) noexcept {
    const std::uint64_t max_machine_frame = 1ull << (features.physical_bits - page_shift);
    for (unsigned n = 0; n < exclusive_count; ++n)
        if (exclusive_frames[n] == frame.raw()) return false;
    return frame.raw() < max_machine_frame && !frame_is_ram(frame);
}

const std::uint64_t* hypervisor_slots() noexcept { return table_at(root) + first_hypervisor_slot; }

void clear_page(void* page) noexcept { std::memset(page, 0, page_size); }
void copy_page(void* to, const void* from) noexcept { std::memcpy(to, from, page_size); }

} // namespace cero::arch
