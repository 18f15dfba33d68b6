// SPDX-License-Identifier: BSD-2-Clause
// fork, vfork, clone: new processes and threads.
#include "arch/x86_64/user_context.hpp"
#include "mm/address_space.hpp"
#include "process/process.hpp"

#include <kernel/sync.hpp>
#include <kernel/syscall.hpp>

#include <cstring>

namespace kernel {
namespace {

namespace clone_flag {
constexpr std::uint64_t signal_mask = 0xff, vm = 0x100, fs = 0x200, files = 0x400, sighand = 0x800,
                        vfork = 0x4000, parent = 0x8000, thread = 0x10000, settls = 0x80000,
                        parent_settid = 0x100000, child_cleartid = 0x200000,
                        child_settid = 0x01000000;
constexpr std::uint64_t namespaces = 0x7e020000 | 0x20000;
} // namespace clone_flag

struct CloneArguments {
    std::uint64_t flags;
    UserAddress stack;
    UserAddress parent_tid;
    UserAddress child_tid;
    std::uint64_t tls;
};

/// The parts of the new process that can fail. On an error the caller drops `child` with what it
/// has.
Status fill_process(Process& child, Process& parent, const CloneArguments& arguments,
                    UserAddress stack_pointer) noexcept {
    if ((arguments.flags & clone_flag::vm) != 0) {
        child.space = parent.space;
        child.space->get();
    } else {
        child.space = TRY(AddressSpace::create());
        TRY(parent.space->copy_to(*child.space, stack_pointer));
    }
    child.files = (arguments.flags & clone_flag::files) != 0 ? parent.files.clone()
                                                             : TRY(parent.files->duplicate());
    child.fs =
        (arguments.flags & clone_flag::fs) != 0 ? parent.fs.clone() : TRY(parent.fs->duplicate());
    return {};
}

void inherit(Process& child, Process& parent) noexcept {
    child.group = parent.group;
    child.session = parent.session;
    child.credentials = parent.credentials;
    memcpy(child.limits, parent.limits, sizeof child.limits);
    memcpy(child.actions, parent.actions, sizeof child.actions);
    memcpy(child.name, parent.name, sizeof child.name);
    child.nice = parent.nice;
    child.start_time = monotonic_ns();
}

Result<Process*> create_process(Process& parent, const CloneArguments& arguments, int pid,
                                UserAddress stack_pointer) noexcept {
    void* storage = kzalloc(sizeof(Process));
    if (storage == nullptr)
        return Errno::nomem;
    auto* child = ::new (storage) Process;
    child->pid = pid;
    inherit(*child, parent);
    child->exit_signal = static_cast<int>(arguments.flags & clone_flag::signal_mask);
    if (const Status filled = fill_process(*child, parent, arguments, stack_pointer); !filled) {
        if (child->space != nullptr)
            child->space->put();
        child->~Process();
        kfree(child);
        return filled.error();
    }
    return child;
}

void copy_thread(Thread& child, Thread& self, const CloneArguments& arguments) noexcept {
    TrapFrame& frame = child.user_frame();
    frame = self.user_frame();
    frame.rax = 0;
    if (arguments.stack != 0)
        frame.rsp = arguments.stack;
    child.fs_base = (arguments.flags & clone_flag::settls) != 0 ? arguments.tls : self.fs_base;
    child.gs_base = self.gs_base;
    child.blocked = self.blocked;
    child.level = RunLevel::interactive;
    if ((arguments.flags & clone_flag::vm) == 0 || (arguments.flags & clone_flag::vfork) != 0)
        child.signal_stack = self.signal_stack;
    if ((arguments.flags & clone_flag::child_cleartid) != 0)
        child.clear_tid = arguments.child_tid;
    prepare_user_entry(child);
}

void join_process(Thread& thread, Process& process, int tid) noexcept {
    EventGuard guard;
    thread.process = &process;
    thread.tid = tid;
    process.threads.push_back(thread);
    ++process.thread_count;
    register_thread(tid, &thread);
}

/// CLONE_CHILD_SETTID: the id goes into the child's memory, which need not be the current one.
void store_child_tid(Process& child, const CloneArguments& arguments, int tid) noexcept {
    if ((arguments.flags & clone_flag::child_settid) != 0)
        static_cast<void>(child.space->access(arguments.child_tid, &tid, sizeof tid, true));
}

Result<std::int64_t> clone_thread(const CloneArguments& arguments) noexcept {
    Thread& self = *current();
    Process& process = *self.process;
    constexpr std::uint64_t required = clone_flag::vm | clone_flag::sighand;
    if ((arguments.flags & required) != required)
        return Errno::inval;
    if (process.exiting)
        return Errno::again;
    const int tid = TRY(allocate_pid());
    auto created = create_thread(self.name);
    if (!created || !copy_fpu(**created, self)) {
        if (created)
            discard_thread(**created);
        release_pid(tid);
        return Errno::nomem;
    }
    Thread& thread = **created;
    copy_thread(thread, self, arguments);
    join_process(thread, process, tid);
    if ((arguments.flags & clone_flag::parent_settid) != 0)
        static_cast<void>(write_user(arguments.parent_tid, tid));
    store_child_tid(process, arguments, tid);
    make_runnable(thread);
    return tid;
}

Result<std::int64_t> do_clone(const CloneArguments& arguments) noexcept {
    if ((arguments.flags & clone_flag::namespaces) != 0)
        return Errno::inval;
    if ((arguments.flags & clone_flag::thread) != 0)
        return clone_thread(arguments);
    Thread& self = *current();
    Process& parent = *self.process;
    const int pid = TRY(allocate_pid());
    auto created = create_process(parent, arguments, pid, self.user_frame().rsp);
    if (!created) {
        release_pid(pid);
        return created.error();
    }
    Process& child = **created;
    auto thread = create_thread(self.name);
    if (!thread || !copy_fpu(**thread, self)) {
        if (thread)
            discard_thread(**thread);
        child.space->put();
        child.~Process();
        kfree(&child);
        release_pid(pid);
        return Errno::nomem;
    }
    copy_thread(**thread, self, arguments);
    {
        EventGuard guard;
        child.parent = (arguments.flags & clone_flag::parent) != 0 && parent.parent != nullptr
                           ? parent.parent
                           : &parent;
        child.parent->children.push_back(child);
        all_processes().push_back(child);
        register_process(pid, &child);
    }
    join_process(**thread, child, pid);
    if ((arguments.flags & clone_flag::parent_settid) != 0)
        static_cast<void>(write_user(arguments.parent_tid, pid));
    store_child_tid(child, arguments, pid);
    WaitQueue done;
    const bool is_vfork = (arguments.flags & clone_flag::vfork) != 0;
    if (is_vfork)
        child.vfork_done = &done;
    make_runnable(**thread);
    if (is_vfork) // the child borrows our memory: not even a signal ends this wait
        done.wait([pid, &done] {
            const Process* process = find_process(pid);
            return process == nullptr || process->vfork_done != &done;
        });
    return pid;
}

Result<std::int64_t> sys_clone(std::uint64_t flags, UserAddress stack, UserAddress parent_tid,
                               UserAddress child_tid, std::uint64_t tls) {
    return do_clone({flags, stack, parent_tid, child_tid, tls});
}
CERO_SYSCALL(56, clone);

Result<std::int64_t> sys_fork() {
    return do_clone({static_cast<std::uint64_t>(sig_chld), 0, 0, 0, 0});
}
CERO_SYSCALL(57, fork);

Result<std::int64_t> sys_vfork() {
    return do_clone(
        {clone_flag::vm | clone_flag::vfork | static_cast<std::uint64_t>(sig_chld), 0, 0, 0, 0});
}
CERO_SYSCALL(58, vfork);

Result<std::int64_t> sys_set_tid_address(UserAddress address) {
    current()->clear_tid = address;
    return current()->tid;
}
CERO_SYSCALL(218, set_tid_address);

} // namespace
} // namespace kernel
