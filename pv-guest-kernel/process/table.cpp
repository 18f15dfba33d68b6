// SPDX-License-Identifier: BSD-2-Clause
// Process table: ids, look-up, groups and sessions.
#include "process/process.hpp"

#include <kernel/log.hpp>
#include <kernel/sync.hpp>

namespace kernel {
namespace {

constexpr int pid_limit = 16384;
constexpr int first_reused_pid = 300;

struct Entry {
    Process* process;
    Thread* thread;
    bool taken;
};
Entry entries[pid_limit];
ProcessList processes;
int last_allocated;
std::uint64_t allocations;

} // namespace

ProcessList& all_processes() noexcept {
    return processes;
}
Process* init_process() noexcept {
    return entries[1].process;
}
Process* find_process(int pid) noexcept {
    return pid > 0 && pid < pid_limit ? entries[pid].process : nullptr;
}
Thread* find_thread(int tid) noexcept {
    return tid > 0 && tid < pid_limit ? entries[tid].thread : nullptr;
}
int last_pid() noexcept {
    return last_allocated;
}
std::uint64_t fork_count() noexcept {
    return allocations;
}

Result<int> allocate_pid() noexcept {
    for (int tries = 0; tries < pid_limit; ++tries) {
        int pid = last_allocated + 1;
        if (pid >= pid_limit)
            pid = first_reused_pid;
        last_allocated = pid;
        if (entries[pid].taken)
            continue;
        // An id that still names a group or session is not for a new process.
        bool in_use = false;
        if (allocations >= pid_limit - 1)
            for (const Process& process : processes)
                in_use = in_use || process.group == pid || process.session == pid;
        if (in_use)
            continue;
        entries[pid] = {nullptr, nullptr, true};
        ++allocations;
        return pid;
    }
    return Errno::again;
}

void release_pid(int pid) noexcept {
    entries[pid] = {};
}
void register_thread(int tid, Thread* thread) noexcept {
    entries[tid].thread = thread;
}
void register_process(int pid, Process* process) noexcept {
    entries[pid].process = process;
}

int next_process(int after) noexcept {
    for (int pid = after < 0 ? 1 : after + 1; pid < pid_limit; ++pid)
        if (entries[pid].process != nullptr)
            return pid;
    return 0;
}

void signal_process_group(int group, int signal) noexcept {
    SignalInfo info;
    info.signal = signal;
    info.code = code_kernel;
    EventGuard guard;
    for (Process& process : processes)
        if (process.group == group)
            send_signal(process, info);
}

void signal_process(int pid, int signal) noexcept {
    SignalInfo info;
    info.signal = signal;
    info.code = code_kernel;
    if (Process* process = find_process(pid); process != nullptr)
        send_signal(*process, info);
}

void signal_current(int signal) noexcept {
    SignalInfo info;
    info.signal = signal;
    info.code = code_kernel;
    send_signal(*current(), info);
}

bool process_group_in_session(int group, int session) noexcept {
    for (const Process& process : processes)
        if (process.group == group && process.session == session)
            return true;
    return false;
}

bool ties_group(const Process& process) noexcept {
    const Process* parent = process.parent;
    return parent != nullptr && parent->pid != 1 && parent->group != process.group &&
           parent->session == process.session;
}

bool process_group_is_orphaned(int group, const Process* leaving) noexcept {
    for (const Process& process : processes)
        if (&process != leaving && process.group == group && process.state == ProcessState::alive &&
            ties_group(process))
            return false;
    return true;
}

bool process_group_is_orphaned(int group) noexcept {
    return process_group_is_orphaned(group, nullptr);
}

JobControl current_job() noexcept {
    const Process* process = current_process();
    if (process == nullptr)
        return {};
    return {process->pid, process->group, process->session, process->session == process->pid};
}

bool current_blocks_signal(int signal) noexcept {
    const Thread* self = current();
    return self->process != nullptr &&
           ((self->blocked & signal_bit(signal)) != 0 ||
            self->process->actions[signal - 1].handler == handler_ignore);
}

TakenSignal take_pending_signal(std::uint64_t set) noexcept {
    Thread& self = *current();
    EventGuard guard;
    SignalInfo info;
    if (!self.pending.take(set, info) && !self.process->pending.take(set, info))
        return {};
    update_signal_check(self);
    return {info.signal, info.code, info.pid, info.uid, info.status};
}

std::uint64_t pending_signals() noexcept {
    const Thread& self = *current();
    return self.pending.bits() | self.process->pending.bits();
}

FsContext& current_fs() noexcept {
    if (const Process* process = current_process(); process != nullptr)
        return *process->fs;
    static FsContext* of_kernel; // kernel threads see the root, as it is when first asked for
    if (of_kernel == nullptr) {
        auto context = vfs::root_context();
        if (!context)
            panic("no root for kernel threads");
        of_kernel = context->into_raw();
        of_kernel->umask = 0;
    }
    return *of_kernel;
}
FdTable& current_files() noexcept {
    return *current_process()->files;
}
const Credentials& current_credentials() noexcept {
    static const Credentials root{};
    const Process* process = current_process();
    return process == nullptr ? root : process->credentials;
}

} // namespace kernel
