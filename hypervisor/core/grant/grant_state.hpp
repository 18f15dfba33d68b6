// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's record of grants in use: pins on an entry, and mappings that a domain holds.
#pragma once

#include <core/domain/domain.hpp>
#include <core/frame/frame_table.hpp>
#include <core/grant/grant_table.hpp>

#include <new>

namespace cero::grant {

/// CERO_GNTST_*, as an operation reports it.
using Code = std::int16_t;

enum class Access : bool { read, write };

/// State of one entry while it is in use: the frame that was granted at the first use, to whom, and
/// how often it is mapped or being copied. Guarded by the table's lock.
struct Active {
    std::uint32_t frame;
    std::uint16_t grantee; ///< domain slot
    std::uint8_t readers;
    std::uint8_t writers;
};
static_assert(sizeof(Active) * CERO_GRANT_ENTRIES_PER_PAGE == page_size);
inline constexpr unsigned max_pins = 255; ///< of one entry, for either access

/// One mapping that a domain holds; it has references of its own on the frame besides the entry's.
/// Whoever exchanges `flags` for 0 owns the record; the table's lock guards only the list of free
/// ones.
struct Mapping {
    std::uint32_t ref; ///< next free handle while the record is free
    std::uint32_t frame;
    std::uint16_t granter; ///< domain slot, kept alive by the reference on the frame
    std::uint16_t flags;   ///< GNTMAP_ bits; 0 = free
    std::uint32_t spare;

    [[nodiscard]] Access access() const noexcept {
        return (flags & CERO_GNTMAP_readonly) != 0 ? Access::read : Access::write;
    }
};
inline constexpr std::uint32_t mappings_per_page = page_size / sizeof(Mapping);
inline constexpr std::uint32_t no_handle = ~0u;

/// Pins entry `ref` of the granter for `grantee` and takes `references` on its frame of the kind
/// that the access needs. Otherwise nothing has changed and the code tells why.
struct Pinned {
    Code code;
    MachineFrame frame;
};
Pinned pin(Domain& granter, GrantRef ref, Domain& grantee, Access access, unsigned references) noexcept;
/// Ends one pin (not the references on the frame) and tells the granter when it was the last.
void unpin(Domain& granter, GrantRef ref, Access access) noexcept;

inline void put_frame(MachineFrame frame, Access access) noexcept {
    if (access == Access::write)
        frame_put_writable(frame);
    else
        frame_put(frame);
}

/// A free mapping record of the domain, or no_handle when it cannot have more.
std::uint32_t take_handle(Domain& domain) noexcept;
void give_handle(Domain& domain, std::uint32_t handle) noexcept;
/// Publishes a record under a taken handle.
void set_mapping(Domain& domain, std::uint32_t handle, const Mapping& mapping) noexcept;
/// Takes the record out: whoever got it is the only one to release it. flags 0: there is none.
Mapping claim_mapping(Domain& domain, std::uint32_t handle) noexcept;

/// Calls `visit(const Mapping&)` for each mapping in use. Table lock held, or the domain is quiet.
template <typename Visit> void for_each_mapping(const GrantTable& table, Visit&& visit) {
    for (std::uint32_t page = 0; page < table.maptrack_pages; ++page) {
        const auto* records = arch::frame_ptr<Mapping>(MachineFrame{table.maptrack[page]});
        for (std::uint32_t n = 0; n < mappings_per_page; ++n)
            if (records[n].flags != 0) visit(records[n]);
    }
}

Status map(Vcpu& current, std::uint64_t array, std::uint64_t count, std::uint64_t& done) noexcept;
Status unmap(Vcpu& current, std::uint64_t array, std::uint64_t count, std::uint64_t& done) noexcept;
Status unmap_and_replace(Vcpu& current, std::uint64_t array, std::uint64_t count, std::uint64_t& done) noexcept;
Status copy(Vcpu& current, std::uint64_t array, std::uint64_t count, std::uint64_t& done) noexcept;

/// Keeps the domain of the last request of a batch: mostly the next one names it too.
class DomainCache {
public:
    Domain* find(DomainId id) noexcept {
        if (domain_ && id == id_) [[likely]]
            return domain_.get();
        domain_.~DomainRef();
        ::new (&domain_) DomainRef{find_domain(id)};
        id_ = id;
        if (domain_ && (domain_->is_dying() || domain_->grants == nullptr)) {
            domain_.~DomainRef();
            ::new (&domain_) DomainRef{};
        }
        return domain_.get();
    }

private:
    DomainId id_{};
    DomainRef domain_;
};

} // namespace cero::grant
