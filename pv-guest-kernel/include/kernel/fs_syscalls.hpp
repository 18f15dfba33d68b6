// SPDX-License-Identifier: BSD-2-Clause
// System calls on files, file systems and sockets: what the system-call table points to. Every argument is
// a register's value; the functions check and convert. The result is the value for user space, or an Errno.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

using SyscallValue = Result<std::int64_t>;
using Word = std::uint64_t;

#define CERO_FS_SYSCALLS(X)                                                                        \
    X(0, read, 3) X(1, write, 3) X(2, open, 3) X(3, close, 1) X(4, stat, 2) X(5, fstat, 2)         \
    X(6, lstat, 2) X(7, poll, 3) X(8, lseek, 3) X(16, ioctl, 3) X(17, pread64, 4)                  \
    X(18, pwrite64, 4) X(19, readv, 3) X(20, writev, 3) X(21, access, 2) X(22, pipe, 1)            \
    X(23, select, 5) X(32, dup, 1) X(33, dup2, 2) X(40, sendfile, 4) X(41, socket, 3)              \
    X(42, connect, 3) X(43, accept, 3) X(44, sendto, 6) X(45, recvfrom, 6) X(46, sendmsg, 3)       \
    X(47, recvmsg, 3) X(48, shutdown, 2) X(49, bind, 3) X(50, listen, 2) X(51, getsockname, 3)     \
    X(52, getpeername, 3) X(53, socketpair, 4) X(54, setsockopt, 5) X(55, getsockopt, 5)           \
    X(72, fcntl, 3) X(73, flock, 2) X(74, fsync, 1) X(75, fdatasync, 1) X(76, truncate, 2)         \
    X(77, ftruncate, 2) X(78, getdents, 3) X(79, getcwd, 2) X(80, chdir, 1) X(81, fchdir, 1)       \
    X(82, rename, 2) X(83, mkdir, 2) X(84, rmdir, 1) X(85, creat, 2) X(86, link, 2)                \
    X(87, unlink, 1) X(88, symlink, 2) X(89, readlink, 3) X(90, chmod, 2) X(91, fchmod, 2)         \
    X(92, chown, 3) X(93, fchown, 3) X(94, lchown, 3) X(95, umask, 1) X(132, utime, 2)             \
    X(133, mknod, 3) X(137, statfs, 2) X(138, fstatfs, 2) X(161, chroot, 1) X(162, sync, 0)        \
    X(165, mount, 5) X(166, umount2, 2) X(213, epoll_create, 1) X(217, getdents64, 3)              \
    X(221, fadvise64, 4) X(187, readahead, 3) X(232, epoll_wait, 4) X(233, epoll_ctl, 4)           \
    X(235, utimes, 2) X(257, openat, 4) X(258, mkdirat, 3) X(259, mknodat, 4) X(260, fchownat, 5)  \
    X(261, futimesat, 3) X(262, newfstatat, 4) X(263, unlinkat, 3) X(264, renameat, 4)             \
    X(265, linkat, 5) X(266, symlinkat, 3) X(267, readlinkat, 4) X(268, fchmodat, 3)               \
    X(269, faccessat, 3) X(270, pselect6, 6) X(271, ppoll, 5) X(280, utimensat, 4)                 \
    X(281, epoll_pwait, 6) X(282, signalfd, 3) X(283, timerfd_create, 2) X(284, eventfd, 1)        \
    X(285, fallocate, 4) X(286, timerfd_settime, 4) X(287, timerfd_gettime, 2)                     \
    X(288, accept4, 4) X(289, signalfd4, 4) X(290, eventfd2, 2) X(291, epoll_create1, 1)           \
    X(292, dup3, 3) X(293, pipe2, 2) X(295, preadv, 5) X(296, pwritev, 5) X(299, recvmmsg, 5)      \
    X(306, syncfs, 1) X(307, sendmmsg, 4) X(316, renameat2, 5) X(319, memfd_create, 2)             \
    X(326, copy_file_range, 6) X(327, preadv2, 6) X(328, pwritev2, 6) X(332, statx, 5)             \
    X(436, close_range, 3) X(437, openat2, 4) X(439, faccessat2, 4) X(277, sync_file_range, 4)

/// Unused trailing arguments are passed as whatever the registers hold; so all take six words.
#define CERO_DECLARE_SYSCALL(number, name, count)                                                  \
    SyscallValue sys_##name(Word a0, Word a1, Word a2, Word a3, Word a4, Word a5) noexcept;
CERO_FS_SYSCALLS(CERO_DECLARE_SYSCALL)
#undef CERO_DECLARE_SYSCALL

} // namespace kernel
