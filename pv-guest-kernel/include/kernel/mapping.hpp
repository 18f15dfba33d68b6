// SPDX-License-Identifier: BSD-2-Clause
// Vma: one area of a process' address space, as files and devices see it, and what they may put into it.
#pragma once

#include <kernel/page.hpp>
#include <kernel/user_copy.hpp>

#include <cero/lib/intrusive_list.hpp>

namespace kernel {

class AddressSpace;
class File;
class Vma;

/// PROT_* of mmap(2); the values are the ABI's.
namespace protection {
inline constexpr std::uint32_t read = 1;
inline constexpr std::uint32_t write = 2;
inline constexpr std::uint32_t exec = 4;
} // namespace protection

/// For devices that fill an area with foreign frames: told before the kernel clears the entries.
class VmaOps {
public:
    /// [start, end) of the area is about to be unmapped (munmap, exit, exec). Entries that grant::map()
    /// wrote must be gone on return; all others the kernel clears itself.
    virtual void unmapping(Vma& area, UserAddress start, UserAddress end) noexcept = 0;

protected:
    ~VmaOps() = default;
};

/// An area [start, end) with one backing and one protection. The memory manager owns it. A device's
/// FileOps::mmap() gets it already inserted and empty, and may set the fields marked so.
class Vma {
public:
    UserAddress start{};
    UserAddress end{};
    std::uint32_t protection{}; ///< protection::*
    bool shared{};              ///< MAP_SHARED
    bool grows_down{};          ///< stack
    bool dont_copy{};           ///< device: fork does not inherit the area
    bool fixed_size{};          ///< device: cannot be split by munmap or mprotect
    bool device{};              ///< device: a fault in an empty entry is SIGBUS, not get_page()
    File* file{};               ///< referenced; null for anonymous memory
    std::uint64_t page_index{}; ///< of `start` in the file
    VmaOps* ops{};              ///< device
    void* private_data{};       ///< device
    AddressSpace* space{};
    cero::ListLink link{};

    [[nodiscard]] std::size_t pages() const noexcept { return (end - start) >> page_shift; }
};

/// The area of the current process that holds the address; null if none. Valid until the thread sleeps.
[[nodiscard]] Vma* find_vma(UserAddress address) noexcept;

/// Maps `count` machine frames of domain `owner` (privcmd, MMIO with DOMID_IO) from `address` on, inside
/// the area. With `errors`, errors[i] receives 0 or a negative errno for each frame and the call goes on;
/// without, the first failure ends it. Frames are not counted: the area's owner keeps them alive.
[[nodiscard]] Status map_user_frames(Vma& area, UserAddress address, const MachineFrame* frames,
                                     std::size_t count, DomainId owner, int* errors) noexcept;
/// Maps one own page (rings of xenbus and event devices) and takes a reference on it.
[[nodiscard]] Status map_user_page(Vma& area, UserAddress address, Page& page) noexcept;
/// Makes sure that a page-table entry exists for the address and returns its machine address, for
/// grant::MapRequest::pte_machine. The kernel forgets the entry when unmapping() has run.
[[nodiscard]] Result<std::uint64_t> user_pte_machine(Vma& area, UserAddress address) noexcept;

} // namespace kernel
