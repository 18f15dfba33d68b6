// SPDX-License-Identifier: BSD-2-Clause
// MmuBatch: collects page-table updates so that many cost one hypercall; pages are given back only
// when no entry and no TLB can reach them any more.
#pragma once

#include "mm/layout.hpp"

#include <cero/abi/mmu.h>
#include <kernel/page.hpp>

namespace kernel {

/// Updates are applied in order, at the latest by commit(). An update that the hypervisor refuses
/// is a broken invariant of the kernel: panic. Not to be held across anything that sleeps.
class MmuBatch {
public:
    MmuBatch() noexcept = default;
    MmuBatch(const MmuBatch&) = delete;
    MmuBatch& operator=(const MmuBatch&) = delete;
    ~MmuBatch() { commit(); }

    void set(std::uint64_t entry_machine, PteValue value) noexcept {
        requests_[count_++] = {entry_machine, value};
        if (count_ == capacity) [[unlikely]]
            apply();
    }
    /// The kernel's own view of a page: page-table pages must be read-only there.
    void protect(const Page& page, bool writable) noexcept;
    /// A right was taken away or a frame exchanged: the TLB must forget.
    void flush_tlb() noexcept { flush_ = true; }
    /// Drops a reference after the next flush.
    void put_later(Page& page) noexcept;
    void commit() noexcept;
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

private:
    void apply() noexcept;
    static constexpr unsigned capacity = 64;
    static constexpr unsigned put_capacity = 64;
    cero_mmu_update requests_[capacity];
    Page* puts_[put_capacity];
    unsigned count_{};
    unsigned put_count_{};
    bool flush_{};
};

/// The page with this machine frame, which must be an own one (an entry without pte::special).
[[nodiscard]] Page* own_page(MachineFrame machine) noexcept;

} // namespace kernel
