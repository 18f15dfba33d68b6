// SPDX-License-Identifier: BSD-2-Clause
// Hypercall grant_table_op: dispatch, continuations, and the operations on the table itself.
#include <core/grant/grant_state.hpp>
#include <core/hypercall/hypercall.hpp>

namespace cero {

namespace {

using namespace grant;

/// The domain whose table an operation is about: the caller's, or any for the control domain.
struct Subject {
    Code code;
    DomainRef domain;
};
Subject find_subject(Domain& self, DomainId id) noexcept {
    const bool own = id == domid_self || id == self.id;
    if (!own && !self.is_control) return {CERO_GNTST_permission_denied, {}};
    DomainRef domain = find_domain(own ? self.id : id);
    const bool usable = domain && domain->grants != nullptr && !domain->is_dying();
    return {usable ? Code{CERO_GNTST_okay} : Code{CERO_GNTST_bad_domain}, std::move(domain)};
}

Status setup_table(Vcpu& current, std::uint64_t argument) noexcept {
    const GuestPtr<cero_gnttab_setup_table> pointer{argument};
    cero_gnttab_setup_table op = TRY(pointer.read());
    const Subject subject = find_subject(*current.domain, DomainId{op.dom});
    op.status = subject.code;
    if (op.status == CERO_GNTST_okay && !subject.domain->grants->grow(*subject.domain, op.nr_frames))
        op.status = CERO_GNTST_general_error;
    if (op.status == CERO_GNTST_okay) {
        const GrantTable& table = *subject.domain->grants;
        const GuestPtr<std::uint64_t> list{op.frame_list};
        for (std::uint32_t n = 0; n < op.nr_frames; ++n)
            if (!list.at(n).write(table.shared[n])) op.status = CERO_GNTST_bad_virt_addr;
    }
    return pointer.write(op);
}

Status query_size(Vcpu& current, std::uint64_t argument) noexcept {
    const GuestPtr<cero_gnttab_query_size> pointer{argument};
    cero_gnttab_query_size op = TRY(pointer.read());
    const Subject subject = find_subject(*current.domain, DomainId{op.dom});
    op.status = subject.code;
    if (op.status == CERO_GNTST_okay) {
        op.nr_frames = subject.domain->grants->frames;
        op.max_nr_frames = GrantTable::max_frames;
    }
    return pointer.write(op);
}

Status set_version(std::uint64_t argument) noexcept {
    const GuestPtr<cero_gnttab_set_version> pointer{argument};
    const cero_gnttab_set_version op = TRY(pointer.read());
    if (op.version == 2) return Errno::nosys;
    if (op.version != 1) return Errno::inval;
    return pointer.write(op);
}

Status get_version(Vcpu& current, std::uint64_t argument) noexcept {
    const GuestPtr<cero_gnttab_get_version> pointer{argument};
    cero_gnttab_get_version op = TRY(pointer.read());
    const Subject subject = find_subject(*current.domain, DomainId{op.dom});
    if (subject.code == CERO_GNTST_permission_denied) return Errno::perm;
    if (subject.code != CERO_GNTST_okay) return Errno::srch;
    op.version = 1;
    return pointer.write(op);
}

struct Batch {
    Status (*run)(Vcpu&, std::uint64_t, std::uint64_t, std::uint64_t&) noexcept;
    std::size_t request_size;
};

Status run_batch(Vcpu& current, const Batch& batch, std::uint64_t command, std::uint64_t array,
                 std::uint64_t count) noexcept {
    std::uint64_t done = 0;
    Status status = batch.run(current, array, count, done);
    if (status.error() != Errno::restart) [[likely]]
        return status;
    return hypercall_continue(current, command, array + done * batch.request_size, count - done);
}

} // namespace

Status grant_table_op(Vcpu& current, std::uint64_t command, std::uint64_t array, std::uint64_t count) noexcept {
    count &= 0xffff'ffff;
    switch (static_cast<std::uint32_t>(command)) {
    case CERO_GNTTABOP_map_grant_ref:
        return run_batch(current, {&grant::map, sizeof(cero_gnttab_map_grant_ref)}, command, array, count);
    case CERO_GNTTABOP_unmap_grant_ref:
        return run_batch(current, {&grant::unmap, sizeof(cero_gnttab_unmap_grant_ref)}, command, array, count);
    case CERO_GNTTABOP_unmap_and_replace:
        return run_batch(current, {&grant::unmap_and_replace, sizeof(cero_gnttab_unmap_and_replace)}, command, array,
                         count);
    case CERO_GNTTABOP_copy: return run_batch(current, {&grant::copy, sizeof(cero_gnttab_copy)}, command, array, count);
    default: break;
    }
    if (count != 1) return Errno::inval;
    switch (static_cast<std::uint32_t>(command)) {
    case CERO_GNTTABOP_setup_table: return setup_table(current, array);
    case CERO_GNTTABOP_query_size: return query_size(current, array);
    case CERO_GNTTABOP_set_version: return set_version(array);
    case CERO_GNTTABOP_get_version: return get_version(current, array);
    default: return Errno::nosys;
    }
}

} // namespace cero
