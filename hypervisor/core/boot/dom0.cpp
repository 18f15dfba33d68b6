// SPDX-License-Identifier: BSD-2-Clause
// The builder of the control domain.
#include <core/boot/dom0.hpp>

#include <arch/api/boot.hpp>
#include <arch/api/console.hpp>
#include <arch/api/context.hpp>
#include <arch/api/cpu.hpp>
#include <cero/abi/hypercall.h>
#include <cero/abi/start_info.h>
#include <core/boot/domain_memory.hpp>
#include <core/boot/pv_image.hpp>
#include <core/frame/frame_allocator.hpp>
#include <core/paging/mmu_ops.hpp>
#include <core/paging/page_type.hpp>
#include <core/sched/scheduler.hpp>

#include <cstring>

namespace cero {
namespace {

using arch::Level;
using arch::log;

constexpr std::uint64_t mib = 1ull << 20;

Errno refuse(const char* object, const char* problem) {
    log(Level::error, "dom0: %s %s", object, problem);
    return Errno::inval;
}

/// Frames for dom0: as the option says, else a quarter of the memory, within bounds.
std::uint64_t wanted_frames() {
    const std::uint64_t free = allocator_free_frames();
    if (const auto option = arch::boot_option("dom0_mem")) {
        if (const auto bytes = parse_size(*option)) return *bytes >> page_shift;
        log(Level::warning, "option dom0_mem=%.*s is not a size like 512M: ignored", static_cast<int>(option->size()),
            option->data());
    }
    constexpr std::uint64_t least = 128 * mib >> page_shift;
    constexpr std::uint64_t most = 1024 * mib >> page_shift;
    const std::uint64_t quarter = free / 4;
    return quarter < least ? least : quarter > most ? most : quarter;
}

std::uint32_t wanted_vcpus() {
    std::uint32_t count = arch::cpu_count();
    if (const auto option = arch::boot_option("dom0_max_vcpus"))
        if (const auto number = parse_size(*option); number && *number >= 1)
            count = static_cast<std::uint32_t>(*number < max_vcpus ? *number : max_vcpus);
    return count;
}

/// The machine, except what the hypervisor drives itself: interrupt controllers, timer, serial
/// line.
Status grant_machine(Domain& domain) {
    Rights& rights = domain.rights;
    TRY(rights.io_ports.add(0, 0xffff));
    constexpr struct { std::uint16_t first, last; } own[] = {{0x20, 0x21}, {0x40, 0x43}, {0xa0, 0xa1}, {0x3f8, 0x3ff}};
    for (const auto& range : own) TRY(rights.io_ports.remove(range.first, range.last));
    TRY(rights.io_memory.add(0, (1ull << 40) - 1));
    return rights.pirqs.add(0, 255);
}

struct Parts {
    std::span<const std::byte> kernel;
    std::span<const std::byte> ramdisk;
    const arch::BootModule* kernel_module;
    const arch::BootModule* ramdisk_module; ///< null = none
    PvImage image;
    GuestLayout layout;
};

/// The ramdisk's whole pages become the domain's where they are; its last, partial page is copied.
Status take_ramdisk(Domain& domain, DomainMemory& memory, const Parts& parts) {
    if (parts.ramdisk_module == nullptr) return {};
    const std::uint64_t base = parts.ramdisk_module->base;
    const std::uint64_t size = parts.ramdisk.size();
    const std::uint64_t whole = (base & (page_size - 1)) == 0 ? size >> page_shift : 0;
    if (whole != 0) {
        adopt_frames(domain, MachineFrame{base >> page_shift}, whole);
        TRY(memory.append(MachineFrame{base >> page_shift}, whole));
    }
    TRY(memory.grow(parts.layout.ramdisk_frames - whole));
    const std::uint64_t copied = whole << page_shift;
    const std::uint64_t at = (parts.layout.ramdisk << page_shift) + copied;
    memory.copy_in(at, parts.ramdisk.data() + copied, size - copied);
    const std::uint64_t tail = (parts.layout.ramdisk_frames << page_shift) - size;
    memory.clear((parts.layout.ramdisk << page_shift) + size, tail);
    return {};
}

Status take_memory(Domain& domain, DomainMemory& memory, const Parts& parts) {
    domain.memory.max_pages.store(parts.layout.frames, Order::relaxed);
    TRY(memory.init());
    const std::uint64_t before = parts.ramdisk_module == nullptr ? parts.layout.frames : parts.layout.ramdisk;
    TRY(memory.grow(before));
    TRY(take_ramdisk(domain, memory, parts));
    return memory.grow(parts.layout.frames - memory.frames());
}

void load_kernel(const DomainMemory& memory, const Parts& parts) {
    const PvImage& image = parts.image;
    for (unsigned n = 0; n < image.segment_count; ++n) {
        const PvImage::Segment& segment = image.segments[n];
        const std::uint64_t at = segment.address - image.virt_base;
        memory.copy_in(at, parts.kernel.data() + segment.file_offset, segment.file_bytes);
        memory.clear(at + segment.file_bytes, segment.memory_bytes - segment.file_bytes);
    }
    if (image.hypercall_page)
        fill_hypercall_page(memory.at<unsigned char>((*image.hypercall_page - image.virt_base) >> page_shift));
}

/// Writes the p2m list and the machine-to-physical entries of all frames.
void write_p2m(const DomainMemory& memory, const GuestLayout& layout) {
    std::uint64_t* out = nullptr;
    memory.for_each_run([&](std::uint64_t frame, MachineFrame machine, std::uint64_t count) {
        for (std::uint64_t n = 0; n < count; ++n) {
            const std::uint64_t index = (frame + n) % entries_per_table;
            if (index == 0) out = memory.at<std::uint64_t>(layout.p2m + (frame + n) / entries_per_table);
            out[index] = machine.raw() + n;
            arch::m2p_set(machine + n, frame + n);
        }
    });
}

MachineFrame write_tables(const DomainMemory& memory, const Parts& parts) {
    const GuestLayout& layout = parts.layout;
    InitialTables tables{memory, layout.tables};
    tables.map(GuestVirt{parts.image.virt_base}, 0, layout.mapped, layout.tables, layout.tables + layout.table_frames);
    if (parts.image.init_p2m) {
        tables.use_pool(layout.p2m + layout.p2m_frames);
        tables.map(GuestVirt{*parts.image.init_p2m}, layout.p2m, layout.p2m_frames, 0, 0);
    }
    return tables.root();
}

void write_start_info(const Domain& domain, const DomainMemory& memory, const Parts& parts) {
    const GuestLayout& layout = parts.layout;
    const std::uint64_t base = parts.image.virt_base;
    const auto address = [base](std::uint64_t frame) { return base + (frame << page_shift); };
    memory.clear(layout.start_info << page_shift, page_size);
    auto& info = *memory.at<cero_start_info>(layout.start_info);
    __builtin_memcpy(info.magic, CERO_START_INFO_MAGIC, sizeof CERO_START_INFO_MAGIC);
    info.nr_pages = layout.frames;
    info.shared_info = to_phys(domain.shared_info_frame).raw();
    info.flags = CERO_SIF_PRIVILEGED | CERO_SIF_INITDOMAIN;
    info.pt_base = address(layout.tables);
    info.nr_pt_frames = layout.table_frames;
    info.mfn_list = parts.image.init_p2m ? *parts.image.init_p2m : address(layout.p2m);
    if (parts.image.init_p2m) {
        info.first_p2m_pfn = layout.p2m;
        info.nr_p2m_frames = layout.p2m_frames + layout.p2m_tables;
    }
    if (parts.ramdisk_module != nullptr) {
        info.mod_len = parts.ramdisk.size();
        info.mod_start = layout.ramdisk_mapped ? address(layout.ramdisk) : layout.ramdisk;
        if (!layout.ramdisk_mapped) info.flags |= CERO_SIF_MOD_START_PFN;
    }
    const char* line = parts.kernel_module->command_line;
    for (unsigned n = 0; line != nullptr && line[n] != '\0' && n + 1 < sizeof info.cmd_line; ++n)
        info.cmd_line[n] = line[n];
}

/// Validates the tables by making them the root of vCPU 0, and pins the level-4 table.
Status load_tables(Domain& domain, MachineFrame root) {
    Vcpu& current = arch::current_vcpu();
    Vcpu& vcpu = *domain.vcpus[0];
    Errno error = Errno::restart;
    while (error == Errno::restart) error = set_vcpu_roots(current, vcpu, root, invalid_frame).error();
    if (error != Errno::ok) return error;
    PageContext context{current, domain, domain.slot};
    TRY(page_type_get(context, root, FrameType::l4));
    frame_word(root).fetch_or(FrameWord::pinned, Order::acq_rel);
    return {};
}

/// The kernel's module has been copied: its whole pages are free memory.
void free_module(const arch::BootModule& module) {
    const std::uint64_t first = (module.base + page_size - 1) >> page_shift;
    const std::uint64_t end = (module.base + module.size) >> page_shift;
    if (end > first) allocator_add(MachineFrame{first}, end - first);
}

Status build(Domain& domain, const Parts& parts) {
    DomainMemory memory{domain};
    if (!take_memory(domain, memory, parts)) return refuse("memory", "is too small or too fragmented; lower dom0_mem=");
    load_kernel(memory, parts);
    write_p2m(memory, parts.layout);
    write_start_info(domain, memory, parts);
    memory.clear(parts.layout.stack << page_shift, page_size);
    const MachineFrame root = write_tables(memory, parts);
    if (const Status loaded = load_tables(domain, root); !loaded) {
        log(Level::error, "dom0: its initial page tables were refused (error %d)", static_cast<int>(loaded.error()));
        return loaded.error();
    }
    const std::uint64_t base = parts.image.virt_base;
    arch::set_start_of_day(*domain.vcpus[0], GuestVirt{parts.image.entry},
                           GuestVirt{base + ((parts.layout.stack + 1) << page_shift)},
                           GuestVirt{base + (parts.layout.start_info << page_shift)});
    return {};
}

Status find_parts(Parts& parts) {
    const std::span<const arch::BootModule> modules = arch::boot_modules();
    if (modules.empty())
        return refuse("no kernel was given:", "add a line `module2 /path/to/kernel` behind `multiboot2` in GRUB");
    parts.kernel_module = &modules[0];
    parts.kernel = arch::module_bytes(modules[0]);
    if (modules.size() > 1 && modules[1].size != 0) {
        parts.ramdisk_module = &modules[1];
        parts.ramdisk = arch::module_bytes(modules[1]);
    }
    const char* problem = nullptr;
    const std::optional<PvImage> image = parse_pv_image(parts.kernel, problem);
    if (!image) return refuse("the kernel (first module)", problem);
    parts.image = *image;
    const std::uint64_t frames = wanted_frames();
    if (frames > allocator_free_frames()) {
        log(Level::error, "dom0: %lu MiB are wanted, %lu MiB are free; lower dom0_mem=", frames * page_size / mib,
            allocator_free_frames() * page_size / mib);
        return Errno::nomem;
    }
    auto layout = lay_out(parts.image, frames, parts.ramdisk.size());
    if (!layout) {
        log(Level::error,
            "dom0: kernel and ramdisk do not fit into %lu MiB; raise dom0_mem=", frames * page_size / mib);
        return layout.error();
    }
    parts.layout = *layout;
    return {};
}

} // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept {
    std::uint64_t value = 0;
    std::size_t at = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, static_cast<std::uint64_t>(text[at] - '0'), &value))
            return {};
    if (at == 0) return {};
    unsigned shift = 0;
    if (at < text.size() && text[at] != ',') {
        switch (text[at++] | 0x20) {
        case 'k': shift = 10; break;
        case 'm': shift = 20; break;
        case 'g': shift = 30; break;
        case 't': shift = 40; break;
        default: return {};
        }
    }
    if ((at < text.size() && text[at] != ',') || value << shift >> shift != value) return {};
    return value << shift;
}

void fill_hypercall_page(unsigned char* page) noexcept {
    constexpr unsigned stub_size = 32;
    constexpr unsigned char breakpoint = 0xcc;
    // push %rcx; push %r11; mov $number, %eax; syscall; pop %r11; pop %rcx; ret
    constexpr unsigned char call_stub[] = {0x51, 0x41, 0x53, 0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
    // iret does not return: push %rcx; push %r11; push %rax; mov $23, %eax; syscall
    constexpr unsigned char iret_stub[] = {0x51, 0x41, 0x53, 0x50, 0xb8, CERO_HYPERCALL_iret, 0, 0, 0, 0x0f, 0x05};
    constexpr unsigned number_at = 4;
    std::memset(page, breakpoint, CERO_PAGE_SIZE);
    for (unsigned number = 0; number < CERO_PAGE_SIZE / stub_size; ++number) {
        unsigned char* stub = page + number * stub_size;
        std::memcpy(stub, call_stub, sizeof call_stub);
        stub[number_at] = static_cast<unsigned char>(number);
        if (number == CERO_HYPERCALL_iret) std::memcpy(stub, iret_stub, sizeof iret_stub);
    }
}

Status build_control_domain() {
    Parts parts{};
    TRY(find_parts(parts));
    Domain& domain = *TRY(create_domain(DomainId{0}, {.is_control = true, .vcpus = wanted_vcpus()}));
    TRY(create_vcpus(domain));
    TRY(grant_machine(domain));
    TRY(build(domain, parts));
    free_module(*parts.kernel_module);
    log(Level::info, "dom0: %lu MiB, %u vCPUs, entry %lx, initial mapping %lx to %lx",
        parts.layout.frames * page_size / mib, domain.vcpu_limit, parts.image.entry, parts.image.virt_base,
        parts.image.virt_base + (parts.layout.mapped << page_shift));
    domain.vcpus[0]->flags.fetch_or(vcpu_flag::initialised, Order::relaxed);
    domain.vcpus[0]->flags.fetch_and(~vcpu_flag::down, Order::release);
    domain.paused_by_controller = false;
    sched::unpause(domain);
    return {};
}

} // namespace cero
