// SPDX-License-Identifier: BSD-2-Clause
// Vma: one area of a process' address space, as files and devices see it, and what they may put
// into it.
#pragma once

#include <kernel/page.hpp>
#include <kernel/user_copy.hpp>

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

/// Something that can be mapped: the page cache of a file, or a device. FileOps::mappable() names
/// it; its owner counts it.
class Mappable {
public:
    /// The page at `index` (file offset / page size) with a reference for the caller. `for_write`:
    /// the process will write to it through a shared mapping; the owner marks it dirty. May sleep.
    /// Errno::nxio past the end of the file (the process gets SIGBUS), Errno::io, Errno::nomem.
    virtual Result<Page*> get_page(std::uint64_t index, bool for_write) = 0;
    /// As get_page() for reading, with a reference for the caller, but only if the page is there
    /// already; never sleeps. Used to map the neighbours of a faulting page.
    virtual Page* peek_page(std::uint64_t index) {
        static_cast<void>(index);
        return nullptr;
    }
    /// A mapping begins / ends to hold the object.
    virtual void map_get() = 0;
    virtual void map_put() = 0;
    /// The area was inserted and is empty. A device may fill it now (map_user_frames() and friends
    /// below); an error undoes the mmap.
    virtual Status mapped(Vma& area) {
        static_cast<void>(area);
        return {};
    }
    /// [start, end) of the area is about to be unmapped (munmap, exit, exec). Entries that
    /// grant::map() wrote must be gone on return; all others the kernel clears itself.
    virtual void unmapping(Vma& area, UserAddress start, UserAddress end) {
        static_cast<void>(area);
        static_cast<void>(start);
        static_cast<void>(end);
    }

protected:
    ~Mappable() = default;
};

/// An area [start, end) with one backing and one protection. The memory manager owns it. A device's
/// Mappable::mapped() may set the fields marked so.
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
    Mappable* mappable{};       ///< held; null for anonymous memory
    File* file{};               ///< held; what was mapped, for listings
    std::uint64_t page_index{}; ///< of `start` in the file
    void* private_data{};       ///< device
    AddressSpace* space{};

    [[nodiscard]] std::size_t pages() const noexcept { return (end - start) >> page_shift; }
};

/// The area of the current process that holds the address; null if none. Valid until the thread
/// sleeps.
[[nodiscard]] Vma* find_vma(UserAddress address) noexcept;

/// Maps `count` machine frames of domain `owner` (privcmd, MMIO with DOMID_IO) from `address` on,
/// inside the area. With `errors`, errors[i] receives 0 or a negative errno for each frame and the
/// call goes on; without, the first failure ends it. Frames are not counted: the area's owner keeps
/// them alive.
[[nodiscard]] Status map_user_frames(Vma& area, UserAddress address, const MachineFrame* frames,
                                     std::size_t count, DomainId owner, int* errors) noexcept;
/// Maps one own page (rings of xenbus and event devices) and takes a reference on it.
[[nodiscard]] Status map_user_page(Vma& area, UserAddress address, Page& page) noexcept;
/// Makes sure that a page-table entry exists for the address and returns its machine address, for
/// grant::MapRequest::pte_machine. The entry counts as the device's until unmapping().
[[nodiscard]] Result<std::uint64_t> user_pte_machine(Vma& area, UserAddress address) noexcept;

} // namespace kernel
