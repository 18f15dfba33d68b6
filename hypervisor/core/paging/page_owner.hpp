// SPDX-License-Identifier: BSD-2-Clause
// Whose page tables and whose frames a page-table hypercall is about.
#pragma once

#include <core/domain/domain.hpp>

#include <utility>

namespace cero {

/// Resolved from the domid argument; keeps foreign domains alive while the operation runs.
class PageOwners {
public:
    /// `word`: low 16 bits name the owner of the frames, the next 16 (minus one) that of the
    /// tables. perm: not the caller's, and the caller is not the control domain; srch: no such
    /// domain.
    static Result<PageOwners> resolve(Vcpu& current, std::uint64_t word) noexcept;

    [[nodiscard]] Domain& tables() const noexcept { return tables_ ? *tables_ : self_; }
    [[nodiscard]] DomainSlot frames() const noexcept { return frames_slot_; }
    /// The domain behind frames(); the caller itself for DOMID_IO and DOMID_XEN.
    [[nodiscard]] Domain& subject() const noexcept { return frames_ ? *frames_ : self_; }
    [[nodiscard]] bool is_foreign() const noexcept { return frames_slot_ != self_.slot; }

private:
    static Result<DomainRef> foreign(Vcpu& current, DomainId id) noexcept;
    PageOwners(Domain& self, DomainRef tables, DomainRef frames, DomainSlot slot) noexcept
        : self_{self}, tables_{std::move(tables)}, frames_{std::move(frames)}, frames_slot_{slot} {}
    Domain& self_;
    DomainRef tables_;
    DomainRef frames_;
    DomainSlot frames_slot_;
};

/// CPUs on which the vCPUs of a guest's bitmap may have translations. fault: it cannot be read.
Result<CpuMask> cpus_of_vcpus(Domain& domain, std::uint64_t bitmap) noexcept;

} // namespace cero
