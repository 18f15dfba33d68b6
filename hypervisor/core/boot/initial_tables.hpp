// SPDX-License-Identifier: BSD-2-Clause
// InitialTables: the page tables that a new domain starts with, written as plain memory and
// validated afterwards like any others.
#pragma once

#include <core/boot/domain_memory.hpp>
#include <core/paging/pte.hpp>

namespace cero {

class InitialTables {
public:
    /// `root` and the frames that follow it are the pool that tables come from.
    InitialTables(const DomainMemory& memory, std::uint64_t root) noexcept;
    [[nodiscard]] MachineFrame root() const noexcept { return root_; }
    /// Tables made from now on come from another pool.
    void use_pool(std::uint64_t first) noexcept { next_ = first; }
    /// Maps `count` frames from `frame` on at `address`; those in [read_only, read_only_end) are
    /// not writable.
    void map(GuestVirt address, std::uint64_t frame, std::uint64_t count, std::uint64_t read_only,
             std::uint64_t read_only_end) noexcept;

private:
    /// The level-1 table for an address, made with those above it as needed.
    std::uint64_t* leaf_table(GuestVirt address) noexcept;

    const DomainMemory& memory_;
    MachineFrame root_;
    std::uint64_t next_;
};

} // namespace cero
