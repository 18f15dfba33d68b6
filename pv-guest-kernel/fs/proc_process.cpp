// SPDX-License-Identifier: BSD-2-Clause
// procfs, the processes' half: /proc/<pid>/*, and /proc/net, which every process shares.
#include "mount_table.hpp"
#include "procfs.hpp"
#include <kernel/process_api.hpp>
#include <kernel/time.hpp>

namespace kernel::procfs {

namespace {

using generated::directory_mode;
using generated::DynamicChild;
using generated::file_mode;
using generated::Key;
using generated::link_mode;
using generated::Node;

void generate_stat(Text& out, Key key) noexcept {
    auto found = process_info(key.pid);
    if (!found)
        return;
    const ProcessInfo& p = *found;
    const TerminalInfo terminal = session_terminal(p.session);
    out.format("%d (%s) %c %d %d %d %d %d 0 %llu 0 %llu 0 ", p.pid, p.name, p.state, p.parent,
               p.process_group, p.session, static_cast<int>(terminal.device),
               terminal.foreground_group, ull(p.minor_faults), ull(p.major_faults));
    out.format("%llu %llu %llu %llu 20 0 %u 0 %llu %llu %llu 18446744073709551615 ",
               ticks(p.user_time), ticks(p.system_time), ticks(p.children_user_time),
               ticks(p.children_system_time), p.threads, ticks(p.start_time), ull(p.virtual_bytes),
               ull(p.resident_pages));
    out.format("0 0 0 0 0 %llu %llu %llu %llu 0 0 0 17 0 0 0 0 0 0 0 0 0 %llu %llu %llu %llu 0\n",
               ull(p.pending), ull(p.blocked), ull(p.ignored), ull(p.caught),
               ull(p.arguments_start), ull(p.arguments_end), ull(p.environment_start),
               ull(p.environment_end));
}

const char* state_name(char state) noexcept {
    switch (state) {
    case 'R':
        return "R (running)";
    case 'S':
        return "S (sleeping)";
    case 'T':
        return "T (stopped)";
    case 'Z':
        return "Z (zombie)";
    default:
        return "D (disk sleep)";
    }
}

void generate_status(Text& out, Key key) noexcept {
    auto found = process_info(key.pid);
    if (!found)
        return;
    const ProcessInfo& p = *found;
    constexpr std::uint64_t kib_per_page = page_size / 1024;
    out.format("Name:\t%s\nUmask:\t0022\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%"
               "d\nTracerPid:\t0\n",
               p.name, state_name(p.state), p.pid, p.pid, p.parent);
    out.format("Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t64\nGroups:\t\n", p.uid,
               p.euid, p.euid, p.euid, p.gid, p.egid, p.egid, p.egid);
    if (!p.is_kernel_thread)
        out.format("VmPeak:\t%8llu kB\nVmSize:\t%8llu kB\nVmHWM:\t%8llu kB\nVmRSS:\t%8llu "
                   "kB\nVmData:\t%8llu kB\n"
                   "VmStk:\t%8llu kB\nVmExe:\t%8llu kB\nVmSwap:\t       0 kB\n",
                   ull(p.virtual_bytes / 1024), ull(p.virtual_bytes / 1024),
                   ull(p.resident_pages * kib_per_page), ull(p.resident_pages * kib_per_page),
                   ull(p.data_pages * kib_per_page), ull(p.stack_bytes / 1024),
                   ull(p.text_pages * kib_per_page));
    out.format(
        "Threads:\t%u\nSigPnd:\t%016llx\nSigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\n",
        p.threads, ull(p.pending), ull(p.blocked), ull(p.ignored), ull(p.caught));
}

void generate_statm(Text& out, Key key) noexcept {
    auto p = process_info(key.pid);
    if (p)
        out.format("%llu %llu %llu %llu 0 %llu 0\n", ull(p->virtual_bytes / page_size),
                   ull(p->resident_pages), ull(p->shared_pages), ull(p->text_pages),
                   ull(p->data_pages));
}

void generate_comm(Text& out, Key key) noexcept {
    auto p = process_info(key.pid);
    if (p)
        out.format("%s\n", p->name);
}

void copy_memory(Text& out, int pid, UserAddress start, UserAddress end) noexcept {
    constexpr std::uint64_t limit = 65536;
    if (end - start > limit)
        end = start + limit;
    while (start < end) {
        char chunk[256];
        const std::size_t wanted = end - start < sizeof(chunk) ? end - start : sizeof(chunk);
        auto count = read_process_memory(pid, start, chunk, wanted);
        if (!count || *count == 0)
            return;
        out.append({chunk, *count});
        start += *count;
    }
}

void generate_cmdline(Text& out, Key key) noexcept {
    auto p = process_info(key.pid);
    if (p)
        copy_memory(out, key.pid, p->arguments_start, p->arguments_end);
}
void generate_environ(Text& out, Key key) noexcept {
    auto p = process_info(key.pid);
    if (p)
        copy_memory(out, key.pid, p->environment_start, p->environment_end);
}

void add_mapping(const MapsEntry& entry, void* context) {
    Text& out = *static_cast<Text*>(context);
    const Inode* inode = entry.file != nullptr ? entry.file->inode.get() : nullptr;
    const DeviceNumber device = inode != nullptr ? inode->superblock.device : 0;
    out.format("%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu", ull(entry.start), ull(entry.end),
               entry.read ? 'r' : '-', entry.write ? 'w' : '-', entry.exec ? 'x' : '-',
               entry.shared ? 's' : 'p', ull(entry.offset), device_major(device),
               device_minor(device), ull(inode != nullptr ? inode->number : 0));
    char name[256];
    if (entry.label != nullptr)
        out.format(" %26s", entry.label);
    else if (entry.file != nullptr && entry.file->path &&
             vfs::name_of(entry.file->path, name, sizeof(name)))
        out.format("                 %s", name);
    out.append("\n");
}
void generate_maps(Text& out, Key key) noexcept {
    for_each_mapping(key.pid, add_mapping, &out);
}

void generate_limits(Text& out, Key) noexcept {
    out.append("Limit                     Soft Limit           Hard Limit           Units\n"
               "Max open files            1024                 1024                 files\n");
}

Result<std::size_t> path_text(const Path& path, char* out, std::size_t size) noexcept {
    if (!path)
        return Errno::noent;
    return vfs::name_of(path, out, size);
}

Result<Path> exe_path(Key key) noexcept {
    auto file = process_executable(key.pid);
    if (!file || !file->path)
        return Errno::noent;
    return file->path.clone();
}
Result<Path> cwd_path(Key key) noexcept {
    auto fs = process_fs(key.pid);
    if (!fs)
        return Errno::noent;
    return fs->cwd.clone();
}
Result<Path> root_path(Key key) noexcept {
    auto fs = process_fs(key.pid);
    if (!fs)
        return Errno::noent;
    return fs->root.clone();
}
Result<std::size_t> exe_text(Key key, char* out, std::size_t size) noexcept {
    auto path = TRY(exe_path(key));
    return path_text(path, out, size);
}
Result<std::size_t> cwd_text(Key key, char* out, std::size_t size) noexcept {
    auto path = TRY(cwd_path(key));
    return path_text(path, out, size);
}
Result<std::size_t> root_text(Key key, char* out, std::size_t size) noexcept {
    auto path = TRY(root_path(key));
    return path_text(path, out, size);
}

Result<Ref<File>> descriptor(Key key) noexcept {
    auto files = process_files(key.pid);
    if (!files)
        return Errno::noent;
    return files->lookup(static_cast<int>(key.item));
}
Result<std::size_t> fd_text(Key key, char* out, std::size_t size) noexcept {
    auto file = TRY(descriptor(key));
    if (file->path)
        return path_text(file->path, out, size);
    const char* label = file->label != nullptr ? file->label : "file";
    const bool bracketed = label[0] == '[';
    const int length =
        bracketed ? cero::format_to(out, size, "anon_inode:%s", label)
                  : cero::format_to(
                        out, size, "%s:[%llu]", label,
                        ull(reinterpret_cast<std::uintptr_t>(file->data) >> 4U & 0xffffffffU));
    return static_cast<std::size_t>(length);
}
Result<Path> fd_path(Key key) noexcept {
    auto file = TRY(descriptor(key));
    if (!file->path)
        return Errno::nxio;
    return file->path.clone();
}
constexpr Node fd_link{.name = "fd", .mode = link_mode, .link_text = fd_text, .link_path = fd_path};

bool next_fd(Key key, std::uint64_t& cookie, DynamicChild& child) noexcept {
    auto files = process_files(key.pid);
    if (!files)
        return false;
    for (; cookie < static_cast<std::uint64_t>(files->capacity()); ++cookie) {
        if (!files->lookup(static_cast<int>(cookie)))
            continue;
        cero::format_to(child.name, sizeof(child.name), "%u", static_cast<unsigned>(cookie));
        child.node = &fd_link;
        child.key = {key.pid, cookie};
        ++cookie;
        return true;
    }
    return false;
}

constexpr std::size_t max_net_files = 24;
const Node* net_files[max_net_files];
std::uint64_t net_file_count;

bool next_net_file(Key, std::uint64_t& cookie, DynamicChild& child) noexcept {
    if (cookie >= net_file_count)
        return false;
    const Node& node = *net_files[cookie++];
    copy_text(child.name, node.name);
    child.node = &node;
    child.key = {};
    return true;
}

void process_owner(Key key, std::uint32_t& uid, std::uint32_t& gid) noexcept {
    auto p = process_info(key.pid);
    if (p) {
        uid = p->euid;
        gid = p->egid;
    }
}

constexpr Node stat{.name = "stat", .mode = file_mode, .generate = generate_stat};
constexpr Node status{.name = "status", .mode = file_mode, .generate = generate_status};
constexpr Node statm{.name = "statm", .mode = file_mode, .generate = generate_statm};
constexpr Node comm{.name = "comm", .mode = file_mode, .generate = generate_comm};
constexpr Node cmdline{.name = "cmdline", .mode = file_mode, .generate = generate_cmdline};
constexpr Node environ{
    .name = "environ", .mode = mode::regular | 0400U, .generate = generate_environ};
constexpr Node maps{.name = "maps", .mode = file_mode, .generate = generate_maps};
constexpr Node limits{.name = "limits", .mode = file_mode, .generate = generate_limits};
constexpr Node mounts{.name = "mounts", .mode = file_mode, .generate = generate_mounts};
constexpr Node exe{.name = "exe", .mode = link_mode, .link_text = exe_text, .link_path = exe_path};
constexpr Node cwd{.name = "cwd", .mode = link_mode, .link_text = cwd_text, .link_path = cwd_path};
constexpr Node root{
    .name = "root", .mode = link_mode, .link_text = root_text, .link_path = root_path};
constexpr Node fd{
    .name = "fd", .mode = mode::directory | 0500U, .next = next_fd, .owner = process_owner};
constexpr Node net{.name = "net", .mode = directory_mode, .next = next_net_file};
constexpr const Node* children[] = {&stat,   &status, &statm, &comm, &cmdline, &environ, &maps,
                                    &limits, &mounts, &exe,   &cwd,  &root,    &fd,      &net};

void fill_process(int pid, DynamicChild& child) noexcept {
    cero::format_to(child.name, sizeof(child.name), "%d", pid);
    child.node = &process_directory;
    child.key = {pid, 0};
}

} // namespace

constinit const Node process_directory{
    .name = "pid", .mode = directory_mode, .children = children, .owner = process_owner};

void add_net_file(const Node& node) noexcept {
    if (net_file_count < max_net_files)
        net_files[net_file_count++] = &node;
}

bool next_process_entry(Key, std::uint64_t& cookie, DynamicChild& child) noexcept {
    const int pid = next_process(static_cast<int>(cookie));
    if (pid == 0)
        return false;
    cookie = static_cast<std::uint64_t>(pid);
    fill_process(pid, child);
    return true;
}

bool find_process_entry(Key, std::string_view name, DynamicChild& child) noexcept {
    std::uint64_t pid = 0;
    if (!parse_number(name, pid) || pid == 0 || pid > 0x7fffffff ||
        !process_info(static_cast<int>(pid)))
        return false;
    fill_process(static_cast<int>(pid), child);
    return true;
}

} // namespace kernel::procfs
