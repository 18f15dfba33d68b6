// SPDX-License-Identifier: BSD-2-Clause
#include "mm/boot_memory.hpp"

#include "arch/x86_64/cpu.hpp"
#include "arch/x86_64/hypercalls.hpp"
#include "mm/buddy.hpp"
#include "mm/mmu_batch.hpp"

#include <kernel/log.hpp>
#include <kernel/page.hpp>

#include <cstring>

extern "C" char image_start[], text_end[], rodata_end[], image_end[];
extern "C" bool load_word_raw(std::uint64_t* out, const std::uint64_t* from);

namespace kernel {

Page* page_array;

namespace {

constexpr std::uint64_t frames_per_table = entries_per_table;
constexpr std::uint64_t first_usable_frame =
    1; // frame 0 stays unused: null pointers of careless code

std::uint64_t given;          // frames that the domain was started with
std::uint64_t frames;         // that it may have one day (maxmem): size of every array by frame
std::uint64_t* p2m;           // frame -> machine frame
PteValue* root;               // initial level-4 table
std::uint64_t* direct_tables; // machine frame of the level-1 table of each 2 MiB of the direct map
std::uint64_t reserved_end;   // first frame behind start-of-day data
std::uint64_t next_early;     // next frame that early_page() hands out
std::uint64_t mapped_end;     // frames below are mapped
std::uint64_t ramdisk_first;  // initial ramdisk, where it is not part of start-of-day data
std::uint64_t ramdisk_end;
std::uint64_t max_machine_frame; // of the machine-to-physical table

std::uint64_t machine_to_frame(std::uint64_t machine) noexcept {
    return reinterpret_cast<const std::uint64_t*>(CERO_M2P_VIRT_START)[machine];
}

/// Start-of-day view of a table, before the direct map exists.
PteValue* image_table(PteValue entry) noexcept {
    return reinterpret_cast<PteValue*>(image_base +
                                       (machine_to_frame(pte::frame(entry).raw()) << page_shift));
}

char* image_page(std::uint64_t frame) noexcept {
    return reinterpret_cast<char*>(image_base + (frame << page_shift));
}

/// Next frame in mapped memory, cleared. Only before the allocator is filled.
std::uint64_t early_frame() {
    if (next_early >= ramdisk_first && next_early < ramdisk_end)
        next_early = ramdisk_end;
    if (next_early >= mapped_end)
        panic("out of memory while building the direct map (%llu frames given)",
              static_cast<unsigned long long>(given));
    const std::uint64_t frame = next_early++;
    memset(image_page(frame), 0, page_size);
    return frame;
}

/// Where start-of-day data end: behind the page tables and the builder's stack, which come last.
std::uint64_t find_reserved_end(const cero_start_info& info,
                                std::uintptr_t boot_stack_top) noexcept {
    const auto frame_behind = [](std::uintptr_t end) {
        return page_up(end - image_base) >> page_shift;
    };
    std::uint64_t end = frame_behind(reinterpret_cast<std::uintptr_t>(image_end));
    const auto extend = [&end](std::uint64_t candidate) {
        end = candidate > end ? candidate : end;
    };
    extend(frame_behind(boot_stack_top));
    extend(frame_behind(reinterpret_cast<std::uintptr_t>(&info) + page_size));
    extend(frame_behind(info.pt_base + info.nr_pt_frames * page_size));
    if (info.mfn_list >= image_base)
        extend(frame_behind(info.mfn_list + info.nr_pages * sizeof(std::uint64_t)));
    return end;
}

/// Counts the frames that the builder mapped, and notes the machine frames of its level-1 tables.
void scan_initial_tables() {
    const PteValue* level3 = image_table(root[image_slot]);
    const PteValue* level2 = image_table(level3[table_index(image_base, 3)]);
    for (unsigned i = 0; i < entries_per_table && (level2[i] & pte::present) != 0; ++i) {
        const PteValue* level1 = image_table(level2[i]);
        for (unsigned j = 0; j < entries_per_table && (level1[j] & pte::present) != 0; ++j)
            mapped_end = i * frames_per_table + j + 1;
    }
}

std::uint64_t entry_machine(std::uint64_t table_frame, unsigned index) noexcept {
    return (p2m[table_frame] << page_shift) + index * sizeof(PteValue);
}

void update(cero_mmu_update* requests, unsigned& count) {
    if (count != 0 && hyper::mmu_update(requests, count, nullptr) != 0)
        panic("the hypervisor refused %u page-table updates while building the direct map", count);
    count = 0;
}

/// The entry of the start-of-day mapping for a frame: the first GiB of the direct map shares it.
std::uint64_t initial_pte_machine(std::uint64_t frame) noexcept {
    const PteValue* level3 = image_table(root[image_slot]);
    const PteValue* level2 = image_table(level3[table_index(image_base, 3)]);
    const PteValue level1 = level2[frame / frames_per_table];
    return (pte::frame(level1).raw() << page_shift) + (frame % frames_per_table) * sizeof(PteValue);
}

/// Extends the mapping (image and direct map share it up to 1 GiB) over all frames. Each level-1
/// table comes from memory mapped so far; a batch of requests makes a group of them read-only and
/// hooks it in.
void build_direct_map() {
    constexpr unsigned batch_tables = 64;
    static cero_mmu_update requests[batch_tables * 2 + 4];
    unsigned count = 0;
    const PteValue* image_level3 = image_table(root[image_slot]);
    const PteValue image_level2 = image_level3[table_index(image_base, 3)];

    // Slots 272 and 273 of the root; every process copies them.
    const std::uint64_t direct_level3 = early_frame();
    const std::uint64_t vmap_level3 = early_frame();
    auto* level3 = reinterpret_cast<PteValue*>(image_page(direct_level3));
    level3[0] = image_level2;
    const std::uint64_t root_machine =
        p2m[(reinterpret_cast<std::uintptr_t>(root) - image_base) >> page_shift] << page_shift;
    for (const std::uint64_t table : {direct_level3, vmap_level3})
        requests[count++] = {initial_pte_machine(table),
                             pte::make(MachineFrame{p2m[table]}, pte::kernel_read)};
    requests[count++] = {root_machine + direct_slot * sizeof(PteValue),
                         pte::make(MachineFrame{p2m[direct_level3]}, pte::table)};
    requests[count++] = {root_machine + vmap_slot * sizeof(PteValue),
                         pte::make(MachineFrame{p2m[vmap_level3]}, pte::table)};
    update(requests, count);

    // The list of level-1 tables is needed for every later change of rights.
    const std::uint64_t tables = (frames + frames_per_table - 1) / frames_per_table;
    const std::uint64_t list_frames = page_up(tables * sizeof(std::uint64_t)) >> page_shift;
    direct_tables = reinterpret_cast<std::uint64_t*>(image_page(next_early));
    for (std::uint64_t i = 0; i < list_frames; ++i)
        static_cast<void>(early_frame());
    const auto* level2 = image_table(image_level2);
    std::uint64_t table = 0;
    for (; table < tables && (level2[table] & pte::present) != 0; ++table)
        direct_tables[table] = pte::frame(level2[table]).raw();

    // The table at the end of the initial mapping may be partly filled.
    for (; mapped_end < given && mapped_end % frames_per_table != 0; ++mapped_end) {
        requests[count++] = {direct_pte_machine(GuestFrame{mapped_end}),
                             pte::make(MachineFrame{p2m[mapped_end]}, pte::kernel_data)};
        if (count == batch_tables * 2)
            update(requests, count);
    }
    update(requests, count);

    std::uint64_t level2_frame = machine_to_frame(pte::frame(image_level2).raw());
    std::uint64_t hooked = table;
    for (; table < tables; ++table) {
        if (table % entries_per_table == 0) { // next GiB: a level-2 table of its own
            update(requests, count);
            level2_frame = early_frame();
            requests[count++] = {direct_pte_machine(GuestFrame{level2_frame}),
                                 pte::make(MachineFrame{p2m[level2_frame]}, pte::kernel_read)};
            requests[count++] = {
                entry_machine(direct_level3, static_cast<unsigned>(table / entries_per_table)),
                pte::make(MachineFrame{p2m[level2_frame]}, pte::table)};
            update(requests, count);
        }
        const std::uint64_t level1_frame = early_frame();
        auto* level1 = reinterpret_cast<PteValue*>(image_page(level1_frame));
        const std::uint64_t first = table * frames_per_table;
        for (unsigned i = 0; i < entries_per_table && first + i < given; ++i)
            level1[i] = pte::make(MachineFrame{p2m[first + i]}, pte::kernel_data);
        direct_tables[table] = p2m[level1_frame];
        requests[count++] = {direct_pte_machine(GuestFrame{level1_frame}),
                             pte::make(MachineFrame{p2m[level1_frame]}, pte::kernel_read)};
        requests[count++] = {
            entry_machine(level2_frame, static_cast<unsigned>(table % entries_per_table)),
            pte::make(MachineFrame{p2m[level1_frame]}, pte::table)};
        if (count >= batch_tables || mapped_end - next_early < 2) {
            update(requests, count);
            hooked = table + 1;
            mapped_end = hooked * frames_per_table < given ? hooked * frames_per_table : given;
        }
    }
    update(requests, count);
    mapped_end = given;
}

/// How many frames dom0 may give this domain: the end of its memory map. At most 16 times what it
/// has: the arrays for more would take too much of that.
std::uint64_t frames_to_come(const cero_start_info& info) noexcept {
    constexpr std::uint64_t growth_max = 16;
    constexpr unsigned entries_max = 32;
    static cero_e820_entry entries[entries_max];
    cero_memory_map map{entries_max, 0, by_address(entries)};
    if ((info.flags & CERO_SIF_INITDOMAIN) != 0 ||
        hyper::memory_op(CERO_XENMEM_memory_map, &map) != 0)
        return given;
    std::uint64_t end = given;
    for (unsigned i = 0; i < map.nr_entries && i < entries_max; ++i) {
        const std::uint64_t last = (entries[i].addr + entries[i].size) >> page_shift;
        if (entries[i].type == CERO_E820_RAM && last > end)
            end = last;
    }
    return end < given * growth_max ? end : given * growth_max;
}

/// The builder's list ends with the frames given; this one has room for those to come.
void extend_p2m(std::uint64_t* longer) noexcept {
    for (std::uint64_t n = 0; n < frames; ++n)
        longer[n] = n < given ? p2m[n] : no_machine_frame;
    p2m = longer;
}

void fill_allocator() {
    const std::uint64_t page_bytes = page_up(frames * sizeof(Page));
    const std::uint64_t bytes = page_bytes + (frames > given ? frames * sizeof(*p2m) : 0);
    std::uint64_t first = next_early;
    const std::uint64_t count = page_up(bytes) >> page_shift;
    if (first < ramdisk_end && first + count > ramdisk_first)
        first = ramdisk_end;
    if (first + count >= given)
        panic("no room for the page array: %llu frames are too few",
              static_cast<unsigned long long>(given));
    page_array = reinterpret_cast<Page*>(direct_base + (first << page_shift));
    memset(static_cast<void*>(page_array), 0, page_bytes);
    if (frames > given)
        extend_p2m(reinterpret_cast<std::uint64_t*>(reinterpret_cast<std::uintptr_t>(page_array) +
                                                    page_bytes));

    // Gaps between the reserved ranges go to the allocator.
    const std::uint64_t image_first =
        (reinterpret_cast<std::uintptr_t>(image_start) - image_base) >> page_shift;
    struct Range {
        std::uint64_t first;
        std::uint64_t end;
    } reserved[] = {{0, first_usable_frame},
                    {image_first, next_early},
                    {first, first + count},
                    {ramdisk_first, ramdisk_end}};
    std::uint64_t frame = 0;
    while (frame < given) {
        const Range* next = nullptr;
        for (const Range& range : reserved)
            if (range.end > frame && range.end != range.first &&
                (next == nullptr || range.first < next->first))
                next = &range;
        const std::uint64_t gap_end = next != nullptr && next->first < given ? next->first : given;
        if (gap_end > frame)
            buddy_add(GuestFrame{frame}, gap_end - frame);
        frame = next != nullptr && next->end > gap_end ? next->end : gap_end;
    }
}

} // namespace

std::uint64_t direct_pte_machine(GuestFrame frame) noexcept {
    return (direct_tables[frame.raw() / frames_per_table] << page_shift) +
           (frame.raw() % frames_per_table) * sizeof(PteValue);
}

PteValue direct_pte(GuestFrame frame, bool writable) noexcept {
    return pte::make(MachineFrame{p2m[frame.raw()]},
                     writable ? pte::kernel_data : pte::kernel_read);
}

std::uint64_t total_frames() noexcept {
    return frames;
}
std::uint64_t frames_at_start() noexcept {
    return given;
}

PteValue* kernel_root() noexcept {
    return root;
}

void set_p2m(GuestFrame frame, MachineFrame machine) noexcept {
    p2m[frame.raw()] = machine.raw();
}

GuestFrame virt_to_pfn(const void* address) noexcept {
    const auto value = reinterpret_cast<std::uintptr_t>(address);
    return GuestFrame{(value >= image_base ? value - image_base : value - direct_base) >>
                      page_shift};
}
MachineFrame pfn_to_mfn(GuestFrame frame) noexcept {
    return MachineFrame{p2m[frame.raw()]};
}
MachineFrame virt_to_mfn(const void* address) noexcept {
    return pfn_to_mfn(virt_to_pfn(address));
}
void* pfn_to_virt(GuestFrame frame) noexcept {
    return reinterpret_cast<void*>(direct_base + (frame.raw() << page_shift));
}

Result<GuestFrame> mfn_to_pfn(MachineFrame machine) noexcept {
    std::uint64_t frame = 0;
    if (machine.raw() > max_machine_frame ||
        !load_word_raw(&frame, reinterpret_cast<const std::uint64_t*>(CERO_M2P_VIRT_START) +
                                   machine.raw()) ||
        frame >= frames || p2m[frame] != machine.raw())
        return Errno::noent;
    return GuestFrame{frame};
}

Page* page_of(const void* direct_address) noexcept {
    return page_array + virt_to_pfn(direct_address).raw();
}
Page* page_of(GuestFrame frame) noexcept {
    return page_array + frame.raw();
}
Page* own_page(MachineFrame machine) noexcept {
    return page_array + machine_to_frame(machine.raw());
}
GuestFrame Page::frame() const noexcept {
    return GuestFrame{static_cast<std::uint64_t>(this - page_array)};
}
void* Page::data() noexcept {
    return pfn_to_virt(frame());
}
MachineFrame Page::machine_frame() const noexcept {
    return pfn_to_mfn(frame());
}

void init_memory(const cero_start_info& info, std::uintptr_t boot_stack_top) {
    given = info.nr_pages;
    frames = frames_to_come(info);
    p2m = reinterpret_cast<std::uint64_t*>(info.mfn_list);
    root = reinterpret_cast<PteValue*>(info.pt_base);
    cero_machphys_mapping mapping{};
    max_machine_frame = hyper::memory_op(CERO_XENMEM_machphys_mapping, &mapping) == 0
                            ? mapping.max_mfn
                            : (CERO_M2P_VIRT_END - CERO_M2P_VIRT_START) / sizeof(std::uint64_t) - 1;
    reserved_end = find_reserved_end(info, boot_stack_top);
    next_early = reserved_end;
    if (info.mod_len != 0) {
        ramdisk_first = (info.flags & CERO_SIF_MOD_START_PFN) != 0
                            ? info.mod_start
                            : (info.mod_start - image_base) >> page_shift;
        ramdisk_end = ramdisk_first + (page_up(info.mod_len) >> page_shift);
        if (ramdisk_first < reserved_end && ramdisk_end > reserved_end)
            next_early = ramdisk_end;
    }
    scan_initial_tables();
    build_direct_map();
    root = static_cast<PteValue*>(pfn_to_virt(virt_to_pfn(root)));
    p2m = static_cast<std::uint64_t*>(info.mfn_list >= image_base ? pfn_to_virt(virt_to_pfn(p2m))
                                                                  : p2m);
    direct_tables = static_cast<std::uint64_t*>(pfn_to_virt(virt_to_pfn(direct_tables)));
    fill_allocator();
}

void release_boot_frames(GuestFrame first, std::uint64_t count) noexcept {
    buddy_add(first, count);
}

void protect_image() noexcept {
    MmuBatch batch;
    const GuestFrame first = virt_to_pfn(image_start);
    const GuestFrame end = virt_to_pfn(rodata_end);
    const GuestFrame code_end = virt_to_pfn(text_end);
    for (std::uint64_t frame = first.raw(); frame < end.raw(); ++frame) {
        const PteValue flags =
            frame < code_end.raw() ? pte::kernel_read & ~pte::no_execute : pte::kernel_read;
        batch.set(direct_pte_machine(GuestFrame{frame}),
                  pte::make(MachineFrame{p2m[frame]}, flags));
    }
    batch.flush_tlb();
    batch.commit();
}

} // namespace kernel
