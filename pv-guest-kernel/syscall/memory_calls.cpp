// SPDX-License-Identifier: BSD-2-Clause
// System calls on address spaces.
#include "mm/address_space.hpp"
#include "process/process.hpp"

#include <kernel/syscall.hpp>

namespace kernel {
namespace {

namespace map_flag {
constexpr int shared = 1, is_private = 2, shared_validate = 3, type_mask = 0xf, fixed = 0x10,
              anonymous = 0x20, grows_down = 0x100, populate = 0x8000, fixed_no_replace = 0x100000;
} // namespace map_flag
constexpr std::uint32_t protection_all = protection::read | protection::write | protection::exec;

Result<UserAddress> sys_mmap(UserAddress address, std::uint64_t size, std::uint32_t wanted,
                             int flags, int fd, std::uint64_t offset) {
    const int type = flags & map_flag::type_mask;
    if ((type != map_flag::shared && type != map_flag::is_private &&
         type != map_flag::shared_validate) ||
        (offset & page_mask) != 0)
        return Errno::inval;
    MapRequest request{};
    request.address = address;
    request.size = size;
    request.protection = wanted & protection_all;
    request.shared = type != map_flag::is_private;
    request.no_replace = (flags & map_flag::fixed_no_replace) != 0;
    request.fixed = (flags & map_flag::fixed) != 0 || request.no_replace;
    request.grows_down = (flags & map_flag::grows_down) != 0;
    request.populate = (flags & map_flag::populate) != 0;
    AddressSpace& space = *current_process()->space;
    if ((flags & map_flag::anonymous) != 0)
        return space.map(request);
    const Ref<File> file = TRY(current_files().lookup(fd));
    if (!file->can_read() ||
        (request.shared && (wanted & protection::write) != 0 && !file->can_write()))
        return Errno::acces;
    request.file = file.get();
    request.page_index = offset >> page_shift;
    return space.map(request);
}
CERO_SYSCALL(9, mmap);

Status sys_mprotect(UserAddress start, std::uint64_t size, std::uint32_t wanted) {
    if ((start & page_mask) != 0 || page_up(size) < size)
        return Errno::inval;
    return current_process()->space->protect(start, start + page_up(size), wanted & protection_all);
}
CERO_SYSCALL(10, mprotect);

Status sys_munmap(UserAddress start, std::uint64_t size) {
    if ((start & page_mask) != 0 || size == 0 || page_up(size) < size)
        return Errno::inval;
    return current_process()->space->unmap(start, start + page_up(size));
}
CERO_SYSCALL(11, munmap);

Result<UserAddress> sys_brk(UserAddress wanted) {
    return current_process()->space->set_break(wanted);
}
CERO_SYSCALL(12, brk);

Result<UserAddress> sys_mremap(UserAddress address, std::uint64_t old_size, std::uint64_t new_size,
                               int flags, UserAddress target) {
    constexpr int may_move = 1;
    constexpr int fixed = 2;
    return current_process()->space->remap(address, old_size, new_size, (flags & may_move) != 0,
                                           (flags & fixed) != 0, target);
}
CERO_SYSCALL(25, mremap);

Status sys_madvise(UserAddress start, std::uint64_t size, int advice) {
    constexpr int dont_need = 4;
    constexpr int free_pages = 8;
    if ((start & page_mask) != 0 || page_up(size) < size)
        return Errno::inval;
    if (advice == dont_need || advice == free_pages)
        return current_process()->space->discard(start, start + page_up(size));
    return {};
}
CERO_SYSCALL(28, madvise);

Status sys_msync(UserAddress, std::uint64_t, int) {
    return {}; // shared pages are the page cache's own
}
CERO_SYSCALL(26, msync);

Status sys_mincore(UserAddress start, std::uint64_t size, UserAddress vector) {
    if ((start & page_mask) != 0)
        return Errno::inval;
    for (std::uint64_t page = 0; page < page_up(size) >> page_shift; ++page)
        TRY(write_user<std::uint8_t>(vector + page, 1));
    return {};
}
CERO_SYSCALL(27, mincore);

Status sys_mlock(UserAddress, std::uint64_t) {
    return {}; // nothing is ever paged out
}
CERO_SYSCALL(149, mlock);
Status sys_munlock(UserAddress, std::uint64_t) {
    return {};
}
CERO_SYSCALL(150, munlock);
Status sys_mlockall(int) {
    return {};
}
CERO_SYSCALL(151, mlockall);
Status sys_munlockall() {
    return {};
}
CERO_SYSCALL(152, munlockall);

Status sys_membarrier(int) {
    return {}; // one vCPU
}
CERO_SYSCALL(324, membarrier);

} // namespace
} // namespace kernel
