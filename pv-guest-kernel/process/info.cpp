// SPDX-License-Identifier: BSD-2-Clause
// What procfs and sysinfo show of processes and of the system's load.
#include "event/upcall.hpp"
#include "mm/address_space.hpp"
#include "process/process.hpp"
#include "sched/thread.hpp"

#include <kernel/initcall.hpp>
#include <kernel/process_api.hpp>
#include <kernel/sync.hpp>

#include <cstring>

namespace kernel {
namespace {

char state_of(const Process& process) noexcept {
    if (process.state == ProcessState::zombie)
        return 'Z';
    if (process.stopped)
        return 'T';
    char state = 'S';
    for (const Thread& thread : const_cast<Process&>(process).threads) {
        if (thread.state == ThreadState::runnable)
            return 'R';
        if (thread.state == ThreadState::sleeping)
            state = 'D';
    }
    return state;
}

void fill_memory(ProcessInfo& out, AddressSpace& space) noexcept {
    for (std::size_t i = 0; i < space.areas.size(); ++i) {
        const Vma& area = space.areas[i];
        const std::uint64_t bytes = area.end - area.start;
        out.virtual_bytes += bytes;
        if ((area.protection & protection::exec) != 0)
            out.text_pages += bytes >> page_shift;
        else if ((area.protection & protection::write) != 0)
            out.data_pages += bytes >> page_shift;
        if (area.end == stack_top)
            out.stack_bytes = bytes;
    }
    out.resident_pages = space.resident;
    out.arguments_start = space.arguments_start;
    out.arguments_end = space.arguments_end;
    out.environment_start = space.environment_start;
    out.environment_end = space.environment_end;
}

} // namespace

Result<ProcessInfo> process_info(int pid) noexcept {
    Process* process = find_process(pid);
    if (process == nullptr)
        return Errno::srch;
    ProcessInfo out{};
    out.pid = pid;
    out.parent = process->parent == nullptr ? 0 : process->parent->pid;
    out.process_group = process->group;
    out.session = process->session;
    out.foreground_group = -1;
    out.state = state_of(*process);
    memcpy(out.name, process->name, sizeof out.name);
    out.threads = process->thread_count;
    const Credentials& who = process->credentials;
    out.uid = who.uid;
    out.euid = who.euid;
    out.gid = who.gid;
    out.egid = who.egid;
    std::uint64_t user = process->user_cycles;
    std::uint64_t system = process->system_cycles;
    for (const Thread& thread : process->threads) {
        user += thread.user_cycles;
        system += thread.system_cycles;
        out.blocked = thread.blocked;
        out.pending |= thread.pending.bits();
    }
    out.pending |= process->pending.bits();
    out.user_time = cycles_to_ns(user);
    out.system_time = cycles_to_ns(system);
    out.children_user_time = cycles_to_ns(process->children_user_cycles);
    out.children_system_time = cycles_to_ns(process->children_system_cycles);
    out.start_time = process->start_time;
    out.minor_faults = process->minor_faults;
    out.major_faults = process->major_faults;
    for (int signal = 1; signal <= sig_count; ++signal) {
        const std::uint64_t handler = process->actions[signal - 1].handler;
        if (handler == handler_ignore)
            out.ignored |= signal_bit(signal);
        else if (handler != handler_default)
            out.caught |= signal_bit(signal);
    }
    if (process->space != nullptr)
        fill_memory(out, *process->space);
    return out;
}

Ref<FdTable> process_files(int pid) noexcept {
    const Process* process = find_process(pid);
    return process == nullptr ? Ref<FdTable>{} : process->files.clone();
}
Ref<FsContext> process_fs(int pid) noexcept {
    const Process* process = find_process(pid);
    return process == nullptr ? Ref<FsContext>{} : process->fs.clone();
}
Ref<File> process_executable(int pid) noexcept {
    const Process* process = find_process(pid);
    return process == nullptr || process->space == nullptr ? Ref<File>{}
                                                           : process->space->executable.clone();
}

namespace {
/// Keeps an address space alive while somebody else looks at it.
class SpaceRef {
public:
    explicit SpaceRef(int pid) noexcept {
        const Process* process = find_process(pid);
        if (process != nullptr && process->space != nullptr) {
            space_ = process->space;
            space_->get();
        }
    }
    ~SpaceRef() {
        if (space_ != nullptr)
            space_->put();
    }
    SpaceRef(const SpaceRef&) = delete;
    SpaceRef& operator=(const SpaceRef&) = delete;
    [[nodiscard]] AddressSpace* get() const noexcept { return space_; }

private:
    AddressSpace* space_{};
};
} // namespace

Result<std::size_t> read_process_memory(int pid, UserAddress from, void* to,
                                        std::size_t size) noexcept {
    const SpaceRef space{pid};
    if (space.get() == nullptr)
        return Errno::srch;
    if (space.get()->lock.held_by_current())
        return Errno::fault;
    return space.get()->access(from, to, size, false);
}

void for_each_mapping(int pid, MapsCallback callback, void* context) noexcept {
    const SpaceRef ref{pid};
    AddressSpace* space = ref.get();
    if (space == nullptr || space->lock.held_by_current())
        return;
    MutexGuard guard{space->lock};
    for (std::size_t i = 0; i < space->areas.size(); ++i) {
        const Vma& area = space->areas[i];
        MapsEntry entry{};
        entry.start = area.start;
        entry.end = area.end;
        entry.read = (area.protection & protection::read) != 0;
        entry.write = (area.protection & protection::write) != 0;
        entry.exec = (area.protection & protection::exec) != 0;
        entry.shared = area.shared;
        entry.offset = area.page_index << page_shift;
        entry.file = area.file;
        entry.label = area.end == stack_top ? "[stack]"
                      : area.start >= space->break_start && area.end <= page_up(space->break_end) &&
                              area.file == nullptr
                          ? "[heap]"
                          : nullptr;
        callback(entry, context);
    }
}

namespace {

// Load averages: the kernel's usual exponential decay, sampled every five seconds by a thread.
constexpr unsigned fixed_bits = 11;
constexpr std::uint32_t fixed_one = 1U << fixed_bits;
constexpr std::uint32_t decay[3] = {1884, 2014, 2037};
std::uint32_t averages[3];

void sample_load(void*) {
    constexpr Nanoseconds period = 5 * ns_per_s;
    for (;;) {
        sleep_ns(period);
        const std::uint32_t running = scheduler_counters().runnable - 1; // not this thread
        for (unsigned i = 0; i < 3; ++i)
            averages[i] = (averages[i] * decay[i] + running * fixed_one * (fixed_one - decay[i])) >>
                          fixed_bits;
    }
}
void start_load_sampling() {
    static_cast<void>(spawn_kernel_thread("load", sample_load, nullptr));
}
CERO_INITCALL(late, start_load_sampling);

} // namespace

SystemLoad system_load() noexcept {
    static std::uint64_t user_cycles;
    static std::uint64_t system_cycles;
    std::uint64_t user = 0;
    std::uint64_t system = 0;
    for (const Process& process : all_processes()) {
        user += process.user_cycles;
        system += process.system_cycles;
        for (const Thread& thread : const_cast<Process&>(process).threads) {
            user += thread.user_cycles;
            system += thread.system_cycles;
        }
        // Only of those that were waited for: their own times are no longer in the list.
        user += process.children_user_cycles;
        system += process.children_system_cycles;
    }
    user_cycles = user > user_cycles ? user : user_cycles; // never backwards
    system_cycles = system > system_cycles ? system : system_cycles;
    const SchedulerCounters counters = scheduler_counters();
    SystemLoad load{};
    load.user = cycles_to_ns(user_cycles);
    load.system = cycles_to_ns(system_cycles);
    load.idle = cycles_to_ns(counters.idle_cycles);
    load.context_switches = counters.switches;
    load.forks = fork_count();
    load.interrupts = event_count();
    load.running = counters.runnable;
    load.total = counters.threads;
    memcpy(load.load_average, averages, sizeof averages);
    load.last_pid = last_pid();
    return load;
}

} // namespace kernel
