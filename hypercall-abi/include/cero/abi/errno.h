/* SPDX-License-Identifier: MIT */
/* Error numbers: hypercalls return the negated value. */
#ifndef CERO_ABI_ERRNO_H
#define CERO_ABI_ERRNO_H

#define CERO_EPERM 1
#define CERO_ENOENT 2
#define CERO_ESRCH 3
#define CERO_EINTR 4
#define CERO_EIO 5
#define CERO_ENXIO 6
#define CERO_E2BIG 7
#define CERO_ENOEXEC 8
#define CERO_EBADF 9
#define CERO_EAGAIN 11
#define CERO_ENOMEM 12
#define CERO_EACCES 13
#define CERO_EFAULT 14
#define CERO_EBUSY 16
#define CERO_EEXIST 17
#define CERO_EXDEV 18
#define CERO_ENODEV 19
#define CERO_EINVAL 22
#define CERO_ENOSPC 28
#define CERO_ERANGE 34
#define CERO_ENOSYS 38
#define CERO_ENODATA 61
#define CERO_ETIME 62
#define CERO_EOVERFLOW 75
#define CERO_EOPNOTSUPP 95

#endif
