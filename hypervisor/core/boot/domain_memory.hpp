// SPDX-License-Identifier: BSD-2-Clause
// DomainMemory: the machine frames behind a new domain's pseudo-physical ones, while it is built.
// InitialTables: its page tables.
#pragma once

#include <arch/api/memory.hpp>
#include <core/domain/domain.hpp>
#include <core/paging/pte.hpp>

namespace cero {

/// Consecutive runs of frames. Its own memory (two pages) is borrowed from the hypervisor.
class DomainMemory {
public:
    explicit DomainMemory(Domain& domain) noexcept : domain_{domain} {}
    DomainMemory(const DomainMemory&) = delete;
    DomainMemory& operator=(const DomainMemory&) = delete;
    ~DomainMemory();

    [[nodiscard]] Status init();
    /// Allocates `count` frames behind those there are.
    [[nodiscard]] Status grow(std::uint64_t count);
    /// Adds frames that the caller has given to the domain.
    [[nodiscard]] Status append(MachineFrame first, std::uint64_t count);

    [[nodiscard]] std::uint64_t frames() const noexcept { return frames_; }
    /// The machine frame, and in `run` how many from there on are consecutive.
    [[nodiscard]] MachineFrame look(std::uint64_t frame, std::uint64_t& run) const noexcept;
    [[nodiscard]] MachineFrame look(std::uint64_t frame) const noexcept {
        std::uint64_t run;
        return look(frame, run);
    }
    template <typename T> [[nodiscard]] T* at(std::uint64_t frame) const noexcept {
        return arch::frame_ptr<T>(look(frame));
    }
    /// Copies to `bytes` from a pseudo-physical address on; without a source, clears them.
    void copy_in(std::uint64_t address, const std::byte* from, std::uint64_t bytes) const noexcept;
    void clear(std::uint64_t address, std::uint64_t bytes) const noexcept { copy_in(address, nullptr, bytes); }
    /// Calls visit(first pseudo-physical frame, first machine frame, count) for each run.
    template <typename Visit> void for_each_run(Visit&& visit) const {
        for (unsigned n = 0; n < count_; ++n) visit(runs_[n].frame, runs_[n].machine, runs_[n].count);
    }

private:
    struct Run {
        std::uint64_t frame;
        MachineFrame machine;
        std::uint64_t count;
    };
    static constexpr unsigned order = 1;
    static constexpr unsigned capacity = (page_size << order) / sizeof(Run);
    Domain& domain_;
    Run* runs_{};
    unsigned count_{};
    std::uint64_t frames_{};
};

/// The page tables that a new domain starts with, written as plain memory and validated afterwards
/// like any others.
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
