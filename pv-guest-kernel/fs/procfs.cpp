// SPDX-License-Identifier: BSD-2-Clause
// procfs, the system's half: memory, load, mounts, devices, kernel settings.
#include "procfs.hpp"
#include "block_node.hpp"
#include "char_device.hpp"
#include "mount_table.hpp"
#include "page_cache.hpp"
#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/process_api.hpp>
#include <kernel/time.hpp>

#include <new>

namespace kernel::procfs {

namespace {

using generated::directory_mode;
using generated::file_mode;
using generated::Key;
using generated::link_mode;
using generated::Node;
using generated::writable_mode;

void generate_meminfo(Text& out, Key) noexcept {
    const MemoryInfo info = memory_info();
    const std::uint64_t cached = page_cache::total_pages();
    auto line = [&](const char* name, std::uint64_t pages) {
        out.format("%-16s%8llu kB\n", name, ull(pages * (page_size / 1024)));
    };
    line("MemTotal:", info.total_pages);
    line("MemFree:", info.free_pages);
    line("MemAvailable:", info.free_pages + cached / 2);
    line("Buffers:", 0);
    line("Cached:", cached);
    line("SwapCached:", 0);
    line("Dirty:", page_cache::dirty_pages());
    line("Slab:", info.slab_pages);
    line("SwapTotal:", 0);
    line("SwapFree:", 0);
}

void generate_uptime(Text& out, Key) noexcept {
    const Nanoseconds up = monotonic_ns();
    const Nanoseconds idle = system_load().idle;
    out.format("%llu.%02llu %llu.%02llu\n", ull(up / ns_per_s), ull(up / (ns_per_s / 100) % 100),
               ull(idle / ns_per_s), ull(idle / (ns_per_s / 100) % 100));
}

void generate_loadavg(Text& out, Key) noexcept {
    const SystemLoad load = system_load();
    for (const std::uint32_t average : load.load_average)
        out.format("%u.%02u ", average >> 11U, (average & 2047U) * 100 / 2048);
    out.format("%u/%u %d\n", load.running, load.total, load.last_pid);
}

void generate_stat(Text& out, Key) noexcept {
    const SystemLoad load = system_load();
    for (const char* name : {"cpu ", "cpu0"})
        out.format("%s %llu 0 %llu %llu 0 0 0 %llu 0 0\n", name, ticks(load.user),
                   ticks(load.system), ticks(load.idle), ticks(load.steal));
    out.format(
        "intr %llu\nctxt %llu\nbtime %llu\nprocesses %llu\nprocs_running %u\nprocs_blocked 0\n",
        ull(load.interrupts), ull(load.context_switches),
        ull((wall_ns() - monotonic_ns()) / ns_per_s), ull(load.forks), load.running);
}

void generate_version(Text& out, Key) noexcept {
    out.format("Linux version %s (Cero PV kernel)\n", kernel_release);
}
void generate_cmdline(Text& out, Key) noexcept {
    out.append(command_line());
    out.append("\n");
}

void generate_filesystems(Text& out, Key) noexcept {
    for (const FileSystemType* type = first_file_system(); type != nullptr; type = type->next)
        out.format("%s\t%s\n", type->needs_device ? "" : "nodev", type->name);
}

void generate_partitions(Text& out, Key) noexcept {
    out.append("major minor  #blocks  name\n\n");
    for (std::size_t i = 0;; ++i) {
        block_node::Info info;
        if (!block_node::at(i, info))
            return;
        out.format("%4u %8u %10llu %s\n", device_major(info.number), device_minor(info.number),
                   ull(info.sectors / 2), info.name);
    }
}

void generate_devices(Text& out, Key) noexcept {
    out.append("Character devices:\n  1 mem\n  5 tty\n 10 misc\n136 pts\n229 hvc\n\nBlock "
               "devices:\n202 xvd\n254 vd\n");
}

void generate_swaps(Text& out, Key) noexcept {
    out.append("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
}

void generate_capabilities(Text& out, Key) noexcept {
    if (is_initial_domain())
        out.append("control_d\n");
}

void generate_hostname(Text& out, Key) noexcept {
    out.append(host_name());
    out.append("\n");
}
Status store_hostname(std::string_view text, Key) noexcept {
    return set_host_name(text);
}
void generate_osrelease(Text& out, Key) noexcept {
    out.format("%s\n", kernel_release);
}
void generate_ostype(Text& out, Key) noexcept {
    out.append("Linux\n");
}
void generate_pid_max(Text& out, Key) noexcept {
    out.append("32768\n");
}
void generate_zero(Text& out, Key) noexcept {
    out.append("0\n");
}
void generate_one(Text& out, Key) noexcept {
    out.append("1\n");
}
void generate_printk(Text& out, Key) noexcept {
    out.append("4\t4\t1\t7\n");
}
Status store_nothing(std::string_view, Key) noexcept {
    return {};
}
Status store_drop_caches(std::string_view, Key) noexcept {
    page_cache::reclaim(~std::size_t{0});
    page_cache::reclaim(~std::size_t{0}); // the first pass only takes the second chance away
    return {};
}

Result<std::size_t> self_text(Key, char* out, std::size_t size) noexcept {
    const int length = cero::format_to(out, size, "%d", current_job().pid);
    return static_cast<std::size_t>(length);
}
Result<std::size_t> mounts_text(Key, char* out, std::size_t size) noexcept {
    return static_cast<std::size_t>(cero::format_to(out, size, "self/mounts"));
}
Result<std::size_t> net_text(Key, char* out, std::size_t size) noexcept {
    return static_cast<std::size_t>(cero::format_to(out, size, "self/net"));
}

FileOps* kmsg_operations() noexcept {
    FileOps* ops = nullptr;
    void* context = nullptr;
    constexpr DeviceNumber kmsg_device = make_device(1, 11);
    (void)char_device::find(kmsg_device, ops, context);
    return ops;
}

constexpr Node hostname{.name = "hostname",
                        .mode = writable_mode,
                        .generate = generate_hostname,
                        .store = store_hostname};
constexpr Node osrelease{.name = "osrelease", .mode = file_mode, .generate = generate_osrelease};
constexpr Node ostype{.name = "ostype", .mode = file_mode, .generate = generate_ostype};
constexpr Node pid_max{.name = "pid_max", .mode = file_mode, .generate = generate_pid_max};
constexpr Node printk_levels{
    .name = "printk", .mode = writable_mode, .generate = generate_printk, .store = store_nothing};
constexpr Node panic_time{
    .name = "panic", .mode = writable_mode, .generate = generate_zero, .store = store_nothing};
constexpr const Node* kernel_children[] = {&hostname, &osrelease,     &ostype,
                                           &pid_max,  &printk_levels, &panic_time};
constexpr Node sys_kernel{.name = "kernel", .mode = directory_mode, .children = kernel_children};
constexpr Node overcommit{.name = "overcommit_memory",
                          .mode = writable_mode,
                          .generate = generate_one,
                          .store = store_nothing};
constexpr Node drop_caches{.name = "drop_caches",
                           .mode = writable_mode,
                           .generate = generate_zero,
                           .store = store_drop_caches};
constexpr const Node* vm_children[] = {&overcommit, &drop_caches};
constexpr Node sys_vm{.name = "vm", .mode = directory_mode, .children = vm_children};
constexpr Node ip_forward{
    .name = "ip_forward", .mode = writable_mode, .generate = generate_zero, .store = store_nothing};
constexpr const Node* ipv4_children[] = {&ip_forward};
constexpr Node sys_ipv4{.name = "ipv4", .mode = directory_mode, .children = ipv4_children};
constexpr const Node* sys_net_children[] = {&sys_ipv4};
constexpr Node sys_net{.name = "net", .mode = directory_mode, .children = sys_net_children};
constexpr const Node* sys_children[] = {&sys_kernel, &sys_vm, &sys_net};
constexpr Node sys{.name = "sys", .mode = directory_mode, .children = sys_children};

constexpr Node capabilities{
    .name = "capabilities", .mode = file_mode, .generate = generate_capabilities};
constexpr const Node* xen_children[] = {&capabilities};
constexpr Node xen{.name = "xen", .mode = directory_mode, .children = xen_children};

constexpr Node meminfo{.name = "meminfo", .mode = file_mode, .generate = generate_meminfo};
constexpr Node cpuinfo{.name = "cpuinfo", .mode = file_mode, .generate = generate_cpuinfo};
constexpr Node uptime{.name = "uptime", .mode = file_mode, .generate = generate_uptime};
constexpr Node loadavg{.name = "loadavg", .mode = file_mode, .generate = generate_loadavg};
constexpr Node stat{.name = "stat", .mode = file_mode, .generate = generate_stat};
constexpr Node version{.name = "version", .mode = file_mode, .generate = generate_version};
constexpr Node cmdline{.name = "cmdline", .mode = file_mode, .generate = generate_cmdline};
constexpr Node filesystems{
    .name = "filesystems", .mode = file_mode, .generate = generate_filesystems};
constexpr Node partitions{.name = "partitions", .mode = file_mode, .generate = generate_partitions};
constexpr Node devices{.name = "devices", .mode = file_mode, .generate = generate_devices};
constexpr Node swaps{.name = "swaps", .mode = file_mode, .generate = generate_swaps};
constexpr Node self{.name = "self", .mode = link_mode, .link_text = self_text};
constexpr Node mounts{.name = "mounts", .mode = link_mode, .link_text = mounts_text};
constexpr Node net{.name = "net", .mode = link_mode, .link_text = net_text};
constexpr Node kmsg{.name = "kmsg", .mode = mode::regular | 0400U, .operations = kmsg_operations};
constexpr const Node* root_children[] = {
    &meminfo, &cpuinfo, &uptime, &loadavg, &stat, &version, &cmdline, &filesystems, &partitions,
    &devices, &swaps,   &self,   &mounts,  &net,  &sys,     &xen,     &kmsg};
constexpr Node root{.name = "",
                    .mode = directory_mode,
                    .children = root_children,
                    .next = next_process_entry,
                    .find = find_process_entry};

void register_procfs() {
    static generated::Type type{"proc", 0x9fa0, root};
    register_file_system(type);
}
CERO_INITCALL(subsys, register_procfs);

} // namespace

void generate_mounts(Text& out, Key) noexcept {
    MountTable& table = MountTable::instance();
    auto* name = static_cast<char*>(kmalloc(4096));
    if (name == nullptr)
        return;
    for (std::uint32_t id = 0;;) {
        Ref<Mount> mount;
        {
            SpinGuard guard{table.lock};
            Mount* next = nullptr;
            for (Mount& each : table.all)
                if (each.id > id && (next == nullptr || each.id < next->id))
                    next = &each;
            if (next == nullptr)
                break;
            id = next->id;
            mount = Ref<Mount>::share(next);
        }
        const Path place{mount.clone(), mount->root.clone()};
        if (!vfs::name_of(place, name, 4096))
            continue;
        const bool read_only = mount->superblock->is_read_only() || (mount->flags & 1U) != 0;
        out.format("%s ", mount->source);
        out.append(name);
        out.format(" %s %s,relatime 0 0\n", mount->superblock->type_name, read_only ? "ro" : "rw");
    }
    kfree(name);
}

} // namespace kernel::procfs
