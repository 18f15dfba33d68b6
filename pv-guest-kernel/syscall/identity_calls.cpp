// SPDX-License-Identifier: BSD-2-Clause
// System calls on identities: processes, groups, sessions, users.
#include "process/process.hpp"

#include <kernel/sync.hpp>
#include <kernel/syscall.hpp>

namespace kernel {
namespace {

Credentials& mine() noexcept {
    return current_process()->credentials;
}

Result<std::int64_t> sys_getpid() {
    return current_process()->pid;
}
CERO_SYSCALL(39, getpid);
Result<std::int64_t> sys_gettid() {
    return current()->tid;
}
CERO_SYSCALL(186, gettid);
Result<std::int64_t> sys_getppid() {
    const Process* parent = current_process()->parent;
    return parent == nullptr ? 0 : parent->pid;
}
CERO_SYSCALL(110, getppid);
Result<std::int64_t> sys_getpgrp() {
    return current_process()->group;
}
CERO_SYSCALL(111, getpgrp);

Result<std::int64_t> sys_getpgid(int pid) {
    const Process* process = pid == 0 ? current_process() : find_process(pid);
    return process == nullptr ? Result<std::int64_t>{Errno::srch}
                              : Result<std::int64_t>{process->group};
}
CERO_SYSCALL(121, getpgid);
Result<std::int64_t> sys_getsid(int pid) {
    const Process* process = pid == 0 ? current_process() : find_process(pid);
    return process == nullptr ? Result<std::int64_t>{Errno::srch}
                              : Result<std::int64_t>{process->session};
}
CERO_SYSCALL(124, getsid);

Status sys_setpgid(int pid, int group) {
    Process& self = *current_process();
    Process* process = pid == 0 ? &self : find_process(pid);
    if (group < 0)
        return Errno::inval;
    if (process == nullptr || (process != &self && process->parent != &self))
        return Errno::srch;
    if (process != &self && process->has_executed)
        return Errno::acces;
    if (process->session != self.session || process->session == process->pid)
        return Errno::perm;
    if (group == 0)
        group = process->pid;
    if (group != process->pid && !process_group_in_session(group, self.session))
        return Errno::perm;
    process->group = group;
    return {};
}
CERO_SYSCALL(109, setpgid);

Result<std::int64_t> sys_setsid() {
    Process& self = *current_process();
    for (const Process& process : all_processes())
        if (process.group == self.pid)
            return Errno::perm;
    self.group = self.session = self.pid;
    return self.pid;
}
CERO_SYSCALL(112, setsid);

Result<std::int64_t> sys_getuid() {
    return mine().uid;
}
CERO_SYSCALL(102, getuid);
Result<std::int64_t> sys_getgid() {
    return mine().gid;
}
CERO_SYSCALL(104, getgid);
Result<std::int64_t> sys_geteuid() {
    return mine().euid;
}
CERO_SYSCALL(107, geteuid);
Result<std::int64_t> sys_getegid() {
    return mine().egid;
}
CERO_SYSCALL(108, getegid);

constexpr std::uint32_t keep = ~std::uint32_t{0};

/// The three ids of one kind; an unprivileged process may only shuffle those that it has.
Status set_ids(std::uint32_t& real, std::uint32_t& effective, std::uint32_t& saved, std::uint32_t r,
               std::uint32_t e, std::uint32_t s) noexcept {
    const bool privileged = mine().euid == 0;
    for (const std::uint32_t id : {r, e, s})
        if (id != keep && !privileged && id != real && id != effective && id != saved)
            return Errno::perm;
    real = r == keep ? real : r;
    effective = e == keep ? effective : e;
    saved = s == keep ? saved : s;
    return {};
}

Status sys_setresuid(std::uint32_t r, std::uint32_t e, std::uint32_t s) {
    return set_ids(mine().uid, mine().euid, mine().suid, r, e, s);
}
CERO_SYSCALL(117, setresuid);
Status sys_setresgid(std::uint32_t r, std::uint32_t e, std::uint32_t s) {
    return set_ids(mine().gid, mine().egid, mine().sgid, r, e, s);
}
CERO_SYSCALL(119, setresgid);
Status sys_setuid(std::uint32_t id) {
    return mine().euid == 0 ? sys_setresuid(id, id, id) : sys_setresuid(keep, id, keep);
}
CERO_SYSCALL(105, setuid);
Status sys_setgid(std::uint32_t id) {
    return mine().euid == 0 ? sys_setresgid(id, id, id) : sys_setresgid(keep, id, keep);
}
CERO_SYSCALL(106, setgid);
Status sys_setreuid(std::uint32_t r, std::uint32_t e) {
    return sys_setresuid(r, e, r != keep || e != keep ? e : keep);
}
CERO_SYSCALL(113, setreuid);
Status sys_setregid(std::uint32_t r, std::uint32_t e) {
    return sys_setresgid(r, e, r != keep || e != keep ? e : keep);
}
CERO_SYSCALL(114, setregid);

Status sys_getresuid(UserAddress r, UserAddress e, UserAddress s) {
    TRY(write_user(r, mine().uid));
    TRY(write_user(e, mine().euid));
    return write_user(s, mine().suid);
}
CERO_SYSCALL(118, getresuid);
Status sys_getresgid(UserAddress r, UserAddress e, UserAddress s) {
    TRY(write_user(r, mine().gid));
    TRY(write_user(e, mine().egid));
    return write_user(s, mine().sgid);
}
CERO_SYSCALL(120, getresgid);

Result<std::int64_t> sys_getgroups(int size, UserAddress out) {
    const Credentials& who = mine();
    if (size != 0) {
        if (size < static_cast<int>(who.group_count))
            return Errno::inval;
        TRY(copy_to_user(out, who.groups, who.group_count * sizeof who.groups[0]));
    }
    return who.group_count;
}
CERO_SYSCALL(115, getgroups);
Status sys_setgroups(std::uint32_t size, UserAddress in) {
    Credentials& who = mine();
    if (who.euid != 0)
        return Errno::perm;
    if (size > Credentials::max_groups)
        return Errno::inval;
    std::uint32_t groups[Credentials::max_groups];
    TRY(copy_from_user(groups, in, size * sizeof groups[0]));
    for (std::uint32_t i = 0; i < size; ++i)
        who.groups[i] = groups[i];
    who.group_count = size;
    return {};
}
CERO_SYSCALL(116, setgroups);

Result<std::int64_t> sys_setfsuid(std::uint32_t) {
    return mine().euid;
}
CERO_SYSCALL(122, setfsuid);
Result<std::int64_t> sys_setfsgid(std::uint32_t) {
    return mine().egid;
}
CERO_SYSCALL(123, setfsgid);

} // namespace
} // namespace kernel
