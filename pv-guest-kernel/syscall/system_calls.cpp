// SPDX-License-Identifier: BSD-2-Clause
// System calls on the system as a whole, limits, scheduling and thread registers.
#include "arch/x86_64/user_context.hpp"
#include "fs/random.hpp"
#include "mm/address_space.hpp"
#include "process/process.hpp"

#include <kernel/boot.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>
#include <kernel/syscall.hpp>
#include <kernel/time.hpp>

#include <cstring>

namespace kernel {

namespace {

struct SystemName {
    char system[65], node[65], release[65], version[65], machine[65], domain[65];
};
SystemName system_name{"Linux", "cero", "6.1.0-cero", "#1 Cero PV kernel", "x86_64", "(none)"};

Status sys_uname(UserAddress out) {
    return write_user(out, system_name);
}
CERO_SYSCALL(63, uname);

Status set_name_from_user(char (&field)[65], UserAddress from, std::size_t size) noexcept {
    if (current_credentials().euid != 0)
        return Errno::perm;
    if (size >= sizeof field)
        return Errno::inval;
    char name[sizeof field] = {};
    TRY(copy_from_user(name, from, size));
    memcpy(field, name, sizeof field);
    return {};
}
Status sys_sethostname(UserAddress from, std::size_t size) {
    return set_name_from_user(system_name.node, from, size);
}
CERO_SYSCALL(170, sethostname);
Status sys_setdomainname(UserAddress from, std::size_t size) {
    return set_name_from_user(system_name.domain, from, size);
}
CERO_SYSCALL(171, setdomainname);

Status sys_sysinfo(UserAddress out) {
    struct {
        std::int64_t uptime;
        std::uint64_t loads[3], total, free, shared, buffers, swap_total, swap_free;
        std::uint16_t processes, pad;
        std::uint64_t high_total, high_free;
        std::uint32_t unit;
        char rest[4];
    } info{};
    static_assert(sizeof info == 112);
    const MemoryInfo memory = memory_info();
    const SystemLoad load = system_load();
    info.uptime = static_cast<std::int64_t>(monotonic_ns() / ns_per_s);
    for (unsigned i = 0; i < 3; ++i)
        info.loads[i] = std::uint64_t{load.load_average[i]} << 5;
    info.total = memory.total_pages * page_size;
    info.free = memory.free_pages * page_size;
    info.processes = static_cast<std::uint16_t>(load.total);
    info.unit = 1;
    return write_user(out, info);
}
CERO_SYSCALL(99, sysinfo);

Result<std::int64_t> sys_syslog(int type, UserAddress out, int size) {
    enum {
        close = 0,
        open = 1,
        read = 2,
        read_all = 3,
        read_clear = 4,
        clear = 5,
        console_off = 6,
        console_on = 7,
        console_level = 8,
        size_unread = 9,
        size_buffer = 10
    };
    static std::uint64_t cleared;
    constexpr std::size_t piece_size = 512;
    switch (type) {
    case read_all:
    case read_clear: {
        if (size < 0)
            return Errno::inval;
        // The last `size` bytes that are still there.
        std::uint64_t from = cleared;
        std::uint64_t end = log_end();
        if (end - from > static_cast<std::uint64_t>(size))
            from = end - static_cast<std::uint64_t>(size);
        std::int64_t done = 0;
        char piece[piece_size];
        while (done < size) {
            const std::size_t room = static_cast<std::size_t>(size - done);
            const std::size_t got =
                read_log(from, piece, room < sizeof piece ? room : sizeof piece);
            if (got == 0)
                break;
            TRY(copy_to_user(out + static_cast<std::uint64_t>(done), piece, got));
            done += static_cast<std::int64_t>(got);
        }
        if (type == read_clear)
            cleared = from;
        return done;
    }
    case clear:
        cleared = log_end();
        return 0;
    case console_off:
        set_console_level(Level::error);
        return 0;
    case console_on:
        set_console_level(Level::info);
        return 0;
    case console_level:
        set_console_level(static_cast<Level>(size <= 4 ? 0 : size >= 8 ? 4 : size - 4));
        return 0;
    case size_buffer:
        return 64 * 1024;
    default:
        return 0;
    }
}
CERO_SYSCALL(103, syslog);

Status sys_reboot(std::uint32_t magic1, std::uint32_t magic2, std::uint32_t command, UserAddress) {
    constexpr std::uint32_t first = 0xfee1dead;
    if (current_credentials().euid != 0)
        return Errno::perm;
    if (magic1 != first ||
        (magic2 != 672274793 && magic2 != 85072278 && magic2 != 369367448 && magic2 != 537993216))
        return Errno::inval;
    switch (command) {
    case 0x01234567: // RESTART
    case 0xa1b2c3d4: // RESTART2
        shutdown_now(ShutdownKind::reboot);
    case 0x4321fedc: // POWER_OFF
        shutdown_now(ShutdownKind::poweroff);
    case 0xcdef0123: // HALT
        shutdown_now(ShutdownKind::halt);
    case 0x89abcdef: // CAD_ON
    case 0:          // CAD_OFF
        return {};
    default:
        return Errno::inval;
    }
}
CERO_SYSCALL(169, reboot);

Result<std::int64_t> sys_getrandom(UserAddress out, std::size_t size, std::uint32_t) {
    constexpr std::size_t piece_size = 256;
    char piece[piece_size];
    for (std::size_t done = 0; done < size;) {
        const std::size_t run = size - done < piece_size ? size - done : piece_size;
        random_bytes(piece, run);
        TRY(copy_to_user(out + done, piece, run));
        done += run;
    }
    return static_cast<std::int64_t>(size);
}
CERO_SYSCALL(318, getrandom);

Status do_limit(Process& process, unsigned which, const ResourceLimit* wanted,
                ResourceLimit& old) noexcept {
    if (which >= limit_count)
        return Errno::inval;
    old = process.limits[which];
    if (wanted == nullptr)
        return {};
    if (wanted->soft > wanted->hard)
        return Errno::inval;
    if (wanted->hard > old.hard && current_credentials().euid != 0)
        return Errno::perm;
    process.limits[which] = *wanted;
    if (which == limit_nofile && process.files)
        process.files->limit = static_cast<int>(wanted->soft < 65536 ? wanted->soft : 65536);
    if (which == limit_data && process.space != nullptr)
        process.space->data_limit = wanted->soft;
    return {};
}

Status sys_prlimit64(int pid, unsigned which, UserAddress in, UserAddress out) {
    Process* process = pid == 0 ? current_process() : find_process(pid);
    if (process == nullptr)
        return Errno::srch;
    ResourceLimit wanted;
    if (in != 0)
        wanted = TRY(read_user<ResourceLimit>(in));
    ResourceLimit old;
    TRY(do_limit(*process, which, in != 0 ? &wanted : nullptr, old));
    return out == 0 ? Status{} : write_user(out, old);
}
CERO_SYSCALL(302, prlimit64);
Status sys_getrlimit(unsigned which, UserAddress out) {
    return sys_prlimit64(0, which, 0, out);
}
CERO_SYSCALL(97, getrlimit);
Status sys_setrlimit(unsigned which, UserAddress in) {
    return sys_prlimit64(0, which, in, 0);
}
CERO_SYSCALL(160, setrlimit);

Status sys_sched_yield() {
    yield();
    return {};
}
CERO_SYSCALL(24, sched_yield);

Result<std::int64_t> sys_sched_getaffinity(int, std::size_t size, UserAddress out) {
    if (size < sizeof(std::uint64_t))
        return Errno::inval;
    TRY(write_user(out, std::uint64_t{1}));
    return static_cast<std::int64_t>(sizeof(std::uint64_t));
}
CERO_SYSCALL(204, sched_getaffinity);
Status sys_sched_setaffinity(int, std::size_t, UserAddress) {
    return {};
}
CERO_SYSCALL(203, sched_setaffinity);
Status sys_getcpu(UserAddress cpu, UserAddress node, UserAddress) {
    if (cpu != 0)
        TRY(write_user(cpu, std::uint32_t{0}));
    return node == 0 ? Status{} : write_user(node, std::uint32_t{0});
}
CERO_SYSCALL(309, getcpu);

Result<std::int64_t> sys_sched_getscheduler(int) {
    return 0;
}
CERO_SYSCALL(145, sched_getscheduler);
Status sys_sched_setscheduler(int, int, UserAddress) {
    return {};
}
CERO_SYSCALL(144, sched_setscheduler);
Status sys_sched_getparam(int, UserAddress out) {
    return write_user(out, std::int32_t{0});
}
CERO_SYSCALL(143, sched_getparam);
Status sys_sched_setparam(int, UserAddress) {
    return {};
}
CERO_SYSCALL(142, sched_setparam);
Result<std::int64_t> sys_sched_get_priority_max(int policy) {
    return policy == 1 || policy == 2 ? 99 : 0;
}
CERO_SYSCALL(146, sched_get_priority_max);
Result<std::int64_t> sys_sched_get_priority_min(int policy) {
    return policy == 1 || policy == 2 ? 1 : 0;
}
CERO_SYSCALL(147, sched_get_priority_min);

Result<std::int64_t> sys_getpriority(int, int id) {
    const Process* process = id == 0 ? current_process() : find_process(id);
    return process == nullptr ? Result<std::int64_t>{Errno::srch}
                              : Result<std::int64_t>{20 - process->nice};
}
CERO_SYSCALL(140, getpriority);
Status sys_setpriority(int, int id, int value) {
    Process* process = id == 0 ? current_process() : find_process(id);
    if (process == nullptr)
        return Errno::srch;
    process->nice = value < -20 ? -20 : value > 19 ? 19 : value;
    return {};
}
CERO_SYSCALL(141, setpriority);
Result<std::int64_t> sys_ioprio_get(int, int) {
    return 0;
}
CERO_SYSCALL(252, ioprio_get);
Status sys_ioprio_set(int, int, int) {
    return {};
}
CERO_SYSCALL(251, ioprio_set);

Result<std::int64_t> sys_personality(std::uint64_t) {
    return 0;
}
CERO_SYSCALL(135, personality);

Status sys_arch_prctl(int code, UserAddress address) {
    enum { set_gs = 0x1001, set_fs = 0x1002, get_fs = 0x1003, get_gs = 0x1004 };
    Thread& self = *current();
    switch (code) {
    case set_fs:
    case set_gs: {
        if (address >= user_limit)
            return Errno::perm;
        EventGuard guard;
        (code == set_fs ? self.fs_base : self.gs_base) = address;
        load_user_context(self);
        return {};
    }
    case get_fs:
        return write_user(address, self.fs_base);
    case get_gs:
        return write_user(address, self.gs_base);
    default:
        return Errno::inval;
    }
}
CERO_SYSCALL(158, arch_prctl);

Result<std::int64_t> sys_prctl(int option, UserAddress argument, std::uint64_t, std::uint64_t,
                               std::uint64_t) {
    enum {
        set_pdeathsig = 1,
        get_dumpable = 3,
        set_dumpable = 4,
        set_name = 15,
        get_name = 16,
        set_no_new_privs = 38,
        get_no_new_privs = 39
    };
    Thread& self = *current();
    switch (option) {
    case set_name: {
        char name[16] = {};
        const auto copied = copy_string_from_user(name, argument, sizeof name);
        if (!copied && copied.error() != Errno::nametoolong)
            return copied.error();
        name[sizeof name - 1] = '\0';
        memcpy(self.name, name, sizeof name);
        if (self.tid == self.process->pid)
            memcpy(self.process->name, name, sizeof name);
        return 0;
    }
    case get_name:
        TRY(copy_to_user(argument, self.name, sizeof self.name));
        return 0;
    case get_dumpable:
        return 1;
    case set_pdeathsig:
    case set_dumpable:
    case set_no_new_privs:
    case get_no_new_privs:
        return 0;
    default:
        return Errno::inval;
    }
}
CERO_SYSCALL(157, prctl);

Status sys_capget(UserAddress, UserAddress data) {
    if (data == 0)
        return {};
    const std::uint32_t all = current_credentials().euid == 0 ? ~0U : 0;
    const std::uint32_t sets[6] = {all, all, 0, all & 0x1ff, all & 0x1ff, 0};
    return write_user(data, sets);
}
CERO_SYSCALL(125, capget);
Status sys_capset(UserAddress, UserAddress) {
    return {};
}
CERO_SYSCALL(126, capset);

// Known to be absent; programs probe for them and cope.
Status sys_ptrace(int) {
    return Errno::nosys;
}
CERO_SYSCALL(101, ptrace);
Status sys_rseq(UserAddress) {
    return Errno::nosys;
}
CERO_SYSCALL(334, rseq);
Status sys_clone3(UserAddress) {
    return Errno::nosys;
}
CERO_SYSCALL(435, clone3);

} // namespace

std::string_view host_name() noexcept {
    return {system_name.node, strlen(system_name.node)};
}

Status set_host_name(std::string_view name) noexcept {
    if (name.size() >= sizeof system_name.node)
        return Errno::inval;
    memset(system_name.node, 0, sizeof system_name.node);
    memcpy(system_name.node, name.data(), name.size());
    return {};
}

} // namespace kernel
