// SPDX-License-Identifier: BSD-2-Clause
// Whose page tables and whose frames a page-table hypercall is about.
#pragma once

#include <core/domain/domain.hpp>

#include <utility>

namespace cero {

/// Begins as the caller for both; resolve() takes the domid argument. Keeps foreign domains alive
/// while the operation runs.
class PageOwners {
public:
    explicit PageOwners(Vcpu& current) noexcept : self_{*current.domain}, frames_slot_{current.domain->slot} {}
    PageOwners(const PageOwners&) = delete;
    PageOwners& operator=(const PageOwners&) = delete;
    ~PageOwners() {
        for (Domain* held : {tables_, frames_})
            if (held != nullptr) DomainRef::release(*held);
    }

    /// `word`: low 16 bits name the owner of the frames, the next 16 (minus one) that of the
    /// tables. perm: not the caller's, and the caller is not the control domain; srch: no such
    /// domain.
    Status resolve(std::uint64_t word) noexcept {
        if (word == CERO_DOMID_SELF) [[likely]]
            return {};
        return resolve_slow(word);
    }

    [[nodiscard]] Domain& tables() const noexcept { return tables_ != nullptr ? *tables_ : self_; }
    [[nodiscard]] DomainSlot frames() const noexcept { return frames_slot_; }
    /// The domain behind frames(); the caller itself for DOMID_IO and DOMID_XEN.
    [[nodiscard]] Domain& subject() const noexcept { return frames_ != nullptr ? *frames_ : self_; }

private:
    Status resolve_slow(std::uint64_t word) noexcept;
    Status find_foreign(std::uint16_t id, Domain*& found) noexcept;

    Domain& self_;
    Domain* tables_{};
    Domain* frames_{};
    DomainSlot frames_slot_;
};

/// CPUs on which the vCPUs of a guest's bitmap may have translations. fault: it cannot be read.
Result<CpuMask> cpus_of_vcpus(Domain& domain, std::uint64_t bitmap) noexcept;

} // namespace cero
