// SPDX-License-Identifier: BSD-2-Clause
// AddressSpace: the user half of one or more processes (threads, vfork children share it).
#pragma once

#include "mm/user_tables.hpp"
#include "mm/vma_set.hpp"

#include <kernel/file.hpp>
#include <kernel/ref.hpp>
#include <kernel/sync.hpp>

namespace kernel {

/// Where programs live. One level-3 table covers all that is placed by the kernel.
inline constexpr UserAddress mmap_bottom = 0x10000;
inline constexpr UserAddress stack_top = 0x7f'ffff'f000;
inline constexpr std::uint64_t stack_size = 8 << 20;
inline constexpr UserAddress mmap_top = stack_top - stack_size - (1 << 20);
inline constexpr UserAddress pie_base = 0x55'5555'4000;

struct FaultKind {
    bool write;
    bool fetch;
    bool from_user;
};
struct FaultResult {
    bool handled;
    int signal;
    int code;
};

/// What mmap asks for; `address` is binding when `fixed`.
struct MapRequest {
    UserAddress address;
    std::uint64_t size;
    std::uint32_t protection;
    bool shared;
    bool fixed;
    bool no_replace;
    bool grows_down;
    bool populate;
    File* file; ///< null: anonymous
    std::uint64_t page_index;
};

/// `lock` guards the areas and the tables; it is held across faults, which may sleep. Kernel code
/// that holds it must not touch user memory.
class AddressSpace final {
public:
    [[nodiscard]] static Result<AddressSpace*> create() noexcept;
    void get() noexcept { ++references_; }
    /// The last one unmaps everything. Sleeps (files are written back by their owners).
    void put() noexcept;

    [[nodiscard]] MachineFrame kernel_root_frame() const noexcept {
        return tables_.roots().kernel_root->machine_frame();
    }
    [[nodiscard]] MachineFrame user_root_frame() const noexcept {
        return tables_.roots().user_root->machine_frame();
    }

    [[nodiscard]] Result<UserAddress> map(const MapRequest& request) noexcept;
    [[nodiscard]] Status unmap(UserAddress start, UserAddress end) noexcept;
    [[nodiscard]] Status protect(UserAddress start, UserAddress end,
                                 std::uint32_t protection) noexcept;
    [[nodiscard]] Result<UserAddress> remap(UserAddress address, std::uint64_t old_size,
                                            std::uint64_t new_size, bool may_move, bool fixed,
                                            UserAddress target) noexcept;
    /// madvise(MADV_DONTNEED): contents of private anonymous memory become zero.
    [[nodiscard]] Status discard(UserAddress start, UserAddress end) noexcept;
    [[nodiscard]] UserAddress set_break(UserAddress wanted) noexcept;
    /// The address must be below user_limit. The space is the current process'.
    [[nodiscard]] FaultResult fault(UserAddress address, FaultKind kind) noexcept;
    /// Copies all areas into an empty space; private pages become copy-on-write, but the page of
    /// `hot` (the stack pointer), which both sides are about to write, is copied at once.
    [[nodiscard]] Status copy_to(AddressSpace& child, UserAddress hot) noexcept;

    /// For exec and debuggers' reads: like the process' own access, from another context. Short
    /// counts end at the first page that cannot be had.
    [[nodiscard]] std::size_t access(UserAddress address, void* data, std::size_t size,
                                     bool write) noexcept;
    /// Hooks in what was built offline (exec, fork).
    void activate() noexcept;

    Mutex lock;
    VmaSet areas;
    UserAddress break_start{};
    UserAddress break_end{};
    UserAddress arguments_start{}, arguments_end{}, environment_start{}, environment_end{};
    std::uint64_t resident{}; ///< pages mapped
    std::uint64_t data_limit{~std::uint64_t{0}};
    Ref<File> executable;

private:
    friend Status map_user_frames(Vma&, UserAddress, const MachineFrame*, std::size_t, DomainId,
                                  int*) noexcept;
    friend Status map_user_page(Vma&, UserAddress, Page&) noexcept;
    friend Result<std::uint64_t> user_pte_machine(Vma&, UserAddress) noexcept;

    explicit AddressSpace(RootPair& roots) noexcept : tables_{roots} {}
    ~AddressSpace() = default;

    [[nodiscard]] Status insert_area(Vma& area) noexcept;
    [[nodiscard]] Status unmap_locked(UserAddress start, UserAddress end) noexcept;
    [[nodiscard]] Status split(UserAddress at) noexcept;
    void clear_range(Vma& area, UserAddress start, UserAddress end) noexcept;
    void merge_around(std::size_t index) noexcept;
    [[nodiscard]] UserAddress find_gap(std::uint64_t size) const noexcept;
    [[nodiscard]] FaultResult fault_locked(UserAddress address, FaultKind kind) noexcept;
    [[nodiscard]] Status fill(Vma& area, UserAddress address, bool write) noexcept;
    [[nodiscard]] Status break_sharing(Vma& area, UserAddress address, PteValue old) noexcept;
    void map_neighbours(Vma& area, UserAddress address, MmuBatch& batch) noexcept;
    [[nodiscard]] Status install(UserAddress address, PteValue entry, bool flush) noexcept;
    [[nodiscard]] Status move_pages(UserAddress from, UserAddress to, std::uint64_t size) noexcept;
    void destroy() noexcept;

    UserTables tables_;
    std::uint32_t references_{1};
};

[[nodiscard]] Vma* new_area() noexcept;
void delete_area(Vma& area) noexcept;

} // namespace kernel
