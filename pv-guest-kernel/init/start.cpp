// SPDX-License-Identifier: BSD-2-Clause
// From the first instruction to /init.
#include "init/start.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "arch/x86_64/traps.hpp"
#include "arch/x86_64/user_context.hpp"
#include "event/grant_table.hpp"
#include "event/upcall.hpp"
#include "mm/address_space.hpp"
#include "mm/boot_memory.hpp"
#include "process/process.hpp"
#include "sched/thread.hpp"
#include "sched/timer_queue.hpp"
#include "syscall/table.hpp"

#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/time.hpp>
#include <kernel/vfs.hpp>

#include <cstring>

extern "C" {
alignas(kernel::kernel_stack_size) char boot_stack[kernel::kernel_stack_size];
extern const kernel::Initcall initcalls_start[], initcalls_end[];
extern void (*const constructors_start[])();
extern void (*const constructors_end[])();
[[noreturn]] void kernel_start(const cero_start_info* info, std::uintptr_t boot_stack_top);
}

namespace kernel {
namespace {

const cero_start_info* info;

void map_shared_info() {
    if (hyper::update_va_mapping(reinterpret_cast<std::uintptr_t>(&shared_info_page),
                                 info->shared_info | pte::kernel_data, CERO_UVMF_INVLPG) != 0)
        panic("cannot map shared_info");
}

void unpack_ramdisk() {
    const RamDisk disk = initial_ramdisk();
    if (disk.size == 0)
        return;
    if (const Status unpacked = vfs::unpack_initramfs(disk.data, disk.size); !unpacked)
        printk(Level::error, "initial ramdisk: error %d", static_cast<int>(unpacked.error()));
    release_initial_ramdisk();
}

/// /init finds its descriptors on /dev/console, so /dev must be there before it.
void mount_devices() {
    static_cast<void>(vfs::make_directory("/dev", 0755)); // the ramdisk may have made it
    if (const Status mounted = vfs::mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr); !mounted)
        printk(Level::error, "cannot mount /dev: error %d", static_cast<int>(mounted.error()));
}

/// The rest of start-up, in a thread that may sleep and that becomes process 1.
void start_system(void*) {
    for (const Initcall* call = initcalls_start; call != initcalls_end; ++call)
        (*call)();
    unpack_ramdisk();
    mount_devices();
    protect_image();
    printk(Level::info, "memory: %llu MiB, %llu MiB free",
           static_cast<unsigned long long>(memory_info().total_pages >> 8),
           static_cast<unsigned long long>(memory_info().free_pages >> 8));
    start_init();
}

} // namespace

const cero_start_info& start_info() noexcept {
    return *info;
}

bool is_initial_domain() noexcept {
    return (info->flags & CERO_SIF_INITDOMAIN) != 0;
}
bool is_privileged() noexcept {
    return (info->flags & CERO_SIF_PRIVILEGED) != 0;
}

std::string_view command_line() noexcept {
    std::size_t size = 0;
    while (size < CERO_MAX_GUEST_CMDLINE && info->cmd_line[size] != '\0')
        ++size;
    return {info->cmd_line, size};
}

Option command_line_option(std::string_view name) noexcept {
    const std::string_view line = command_line();
    for (std::size_t at = 0; at < line.size();) {
        while (at < line.size() && line[at] == ' ')
            ++at;
        std::size_t end = at;
        while (end < line.size() && line[end] != ' ')
            ++end;
        const std::size_t length = end - at;
        if (length >= name.size() && memcmp(line.data() + at, name.data(), name.size()) == 0) {
            if (length == name.size())
                return {true, {}};
            if (line[at + name.size()] == '=')
                return {true, {line.data() + at + name.size() + 1, length - name.size() - 1}};
        }
        at = end;
    }
    return {false, {}};
}

namespace {
GuestFrame ramdisk_frame() noexcept {
    return (info->flags & CERO_SIF_MOD_START_PFN) != 0
               ? GuestFrame{info->mod_start}
               : virt_to_pfn(reinterpret_cast<const void*>(info->mod_start));
}
bool ramdisk_released;
} // namespace

RamDisk initial_ramdisk() noexcept {
    if (info->mod_len == 0 || ramdisk_released)
        return {nullptr, 0};
    return {static_cast<const std::byte*>(pfn_to_virt(ramdisk_frame())), info->mod_len};
}

void release_initial_ramdisk() noexcept {
    if (info->mod_len == 0 || ramdisk_released)
        return;
    ramdisk_released = true;
    release_boot_frames(ramdisk_frame(), page_up(info->mod_len) >> page_shift);
}

BootRing boot_store_ring() noexcept {
    if (is_initial_domain())
        return {MachineFrame{0}, 0};
    return {MachineFrame{info->store_mfn}, info->store_evtchn};
}
BootRing boot_console_ring() noexcept {
    if (is_initial_domain())
        return {MachineFrame{0}, 0};
    return {MachineFrame{info->console.domU.mfn}, info->console.domU.evtchn};
}
void* boot_ring_page(const BootRing& ring) noexcept {
    // Needed before the direct map exists, hence through the image's mapping.
    const std::uint64_t frame =
        reinterpret_cast<const std::uint64_t*>(CERO_M2P_VIRT_START)[ring.frame.raw()];
    return reinterpret_cast<void*>(image_base + (frame << page_shift));
}

} // namespace kernel

using namespace kernel; // NOLINT: the function that assembly calls

void kernel_start(const cero_start_info* given, std::uintptr_t boot_stack_top) {
    info = given;
    init_scheduler(boot_stack);
    map_shared_info();
    init_traps();
    init_events();
    printk(Level::info, "Cero PV kernel, %s domain, %llu MiB",
           is_initial_domain() ? "first" : "guest",
           static_cast<unsigned long long>(info->nr_pages >> 8));
    init_memory(*info, boot_stack_top);
    for (void (*const* constructor)() = constructors_start; constructor != constructors_end;
         ++constructor)
        (*constructor)();
    init_user_context();
    init_grants();
    init_time();
    init_syscalls();
    if (!spawn_kernel_thread("init", start_system, nullptr))
        panic("no memory for the first thread");
    unmask_events();
    if (is_initial_domain())
        measure_event_cost();
    idle_loop();
}
