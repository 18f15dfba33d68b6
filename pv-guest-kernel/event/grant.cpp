// SPDX-License-Identifier: BSD-2-Clause
// Grant table, version 1: lending pages, and borrowing them from other domains.
#include "event/grant_table.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "mm/vmap.hpp"

#include <kernel/grant.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>
#include <kernel/time.hpp>

namespace kernel {
namespace {

constexpr unsigned max_table_frames = 32;
constexpr unsigned initial_frames = 4;

Spinlock lock;
cero_grant_entry_v1* frames[max_table_frames]; ///< mapped one by one, as the table grows
unsigned frame_count;
unsigned frame_limit;
grant::Ref free_head = grant::invalid_ref; ///< free entries are linked through their `frame` fields
constexpr std::uint32_t list_end = ~std::uint32_t{0};

cero_grant_entry_v1& entry(grant::Ref ref) noexcept {
    return frames[ref / CERO_GRANT_ENTRIES_PER_PAGE][ref % CERO_GRANT_ENTRIES_PER_PAGE];
}

bool grow() noexcept {
    if (frame_count == frame_limit)
        return false;
    const unsigned wanted = frame_count == 0
                                ? (initial_frames < frame_limit ? initial_frames : frame_limit)
                                : frame_count + 1;
    std::uint64_t list[max_table_frames] = {};
    cero_gnttab_setup_table setup{CERO_DOMID_SELF, 0, wanted, 0, {}, by_address(list)};
    if (hyper::grant_table_op(CERO_GNTTABOP_setup_table, &setup, 1) != 0 ||
        setup.status != CERO_GNTST_okay)
        return false;
    while (frame_count < wanted) {
        auto mapped = map_shared_frame(MachineFrame{list[frame_count]});
        if (!mapped)
            return false;
        frames[frame_count] = static_cast<cero_grant_entry_v1*>(*mapped);
        const unsigned first = frame_count * CERO_GRANT_ENTRIES_PER_PAGE;
        for (unsigned ref = first + CERO_GRANT_ENTRIES_PER_PAGE; ref-- > first;) {
            if (ref < CERO_GNTTAB_NR_RESERVED_ENTRIES)
                break;
            frames[frame_count][ref - first].frame = free_head;
            free_head = ref;
        }
        ++frame_count;
    }
    return true;
}

/// Pages whose references the other side still used when they were withdrawn.
struct Deferred {
    Deferred* next;
    grant::Ref ref;
    void* page;
};
Deferred* deferred;
void retry_deferred(void*);
Timer retry_timer{retry_deferred, nullptr};
constexpr Nanoseconds retry_period = 500 * ns_per_ms;

void retry_deferred(void*) {
    Deferred** link = &deferred;
    while (*link != nullptr) {
        Deferred* item = *link;
        if (!grant::withdraw(item->ref)) {
            link = &item->next;
            continue;
        }
        *link = item->next;
        if (item->page != nullptr)
            free_pages(item->page, 0);
        kfree(item);
    }
    if (deferred != nullptr)
        retry_timer.arm(monotonic_ns() + retry_period);
}

} // namespace

void init_grants() noexcept {
    cero_gnttab_set_version version{1};
    static_cast<void>(hyper::grant_table_op(CERO_GNTTABOP_set_version, &version, 1));
    cero_gnttab_query_size query{CERO_DOMID_SELF, 0, 0, 0, 0, 0};
    frame_limit = initial_frames;
    if (hyper::grant_table_op(CERO_GNTTABOP_query_size, &query, 1) == 0 &&
        query.status == CERO_GNTST_okay)
        frame_limit =
            query.max_nr_frames < max_table_frames ? query.max_nr_frames : max_table_frames;
    if (!grow())
        printk(Level::warning, "no grant table: this domain can lend no pages");
}

namespace grant {

Result<Ref> offer(DomainId to, MachineFrame frame, bool readonly) noexcept {
    SpinGuard guard{lock};
    if (free_head == list_end && !grow())
        return Errno::nospc;
    const Ref ref = free_head;
    cero_grant_entry_v1& slot = entry(ref);
    free_head = slot.frame;
    slot.frame = static_cast<std::uint32_t>(frame.raw());
    slot.domid = to;
    __atomic_store_n(
        &slot.flags,
        static_cast<std::uint16_t>(CERO_GTF_permit_access | (readonly ? CERO_GTF_readonly : 0)),
        __ATOMIC_RELEASE);
    return ref;
}

bool in_use(Ref ref) noexcept {
    return (__atomic_load_n(&entry(ref).flags, __ATOMIC_ACQUIRE) &
            (CERO_GTF_reading | CERO_GTF_writing)) != 0;
}

Status withdraw(Ref ref) noexcept {
    cero_grant_entry_v1& slot = entry(ref);
    std::uint16_t flags = __atomic_load_n(&slot.flags, __ATOMIC_ACQUIRE);
    do {
        if ((flags & (CERO_GTF_reading | CERO_GTF_writing)) != 0)
            return Errno::busy;
    } while (!__atomic_compare_exchange_n(&slot.flags, &flags, std::uint16_t{0}, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    SpinGuard guard{lock};
    slot.frame = free_head;
    free_head = ref;
    return {};
}

void withdraw_deferred(Ref ref, void* page) noexcept {
    if (withdraw(ref)) {
        if (page != nullptr)
            free_pages(page, 0);
        return;
    }
    auto* item = static_cast<Deferred*>(kmalloc(sizeof(Deferred)));
    if (item == nullptr) {
        printk(Level::warning, "grant reference %u is lost: the other domain keeps it", ref);
        return;
    }
    EventGuard guard;
    *item = {deferred, ref, page};
    deferred = item;
    if (!retry_timer.armed())
        retry_timer.arm(monotonic_ns() + retry_period);
}

namespace {

constexpr std::size_t group = 32;

/// Issues `count` requests in groups: `encode` fills an operation, `decode` takes its results back.
template <typename Operation, typename Request, typename Encode, typename Decode>
Status issue(unsigned command, Request* requests, std::size_t count, Encode encode,
             Decode decode) noexcept {
    for (std::size_t at = 0; at < count; at += group) {
        const std::size_t size = count - at < group ? count - at : group;
        Operation operations[group];
        for (std::size_t i = 0; i < size; ++i)
            encode(requests[at + i], operations[i]);
        const long result = hyper::grant_table_op(command, operations, static_cast<unsigned>(size));
        if (result != 0) {
            for (std::size_t i = at; i < count; ++i)
                requests[i].status = CERO_GNTST_general_error;
            return errno_of(result);
        }
        for (std::size_t i = 0; i < size; ++i)
            decode(requests[at + i], operations[i]);
    }
    return {};
}

} // namespace

Status map(MapRequest* requests, std::size_t count) noexcept {
    return issue<cero_gnttab_map_grant_ref>(
        CERO_GNTTABOP_map_grant_ref, requests, count,
        [](const MapRequest& in, cero_gnttab_map_grant_ref& out) {
            out = {};
            out.flags = CERO_GNTMAP_host_map | (in.readonly ? CERO_GNTMAP_readonly : 0);
            out.host_addr = by_address(in.address);
            if (in.pte_machine != 0) {
                // A process' entry; the available bit marks it as not an own page.
                out.host_addr = in.pte_machine;
                out.flags |= CERO_GNTMAP_contains_pte | CERO_GNTMAP_application_map |
                             (1U << CERO_GNTMAP_guest_avail_shift);
            }
            out.ref = in.ref;
            out.dom = in.domain;
        },
        [](MapRequest& out, const cero_gnttab_map_grant_ref& in) {
            out.status = in.status;
            out.handle = in.handle;
            out.bus_address = in.dev_bus_addr;
        });
}

Status unmap(UnmapRequest* requests, std::size_t count) noexcept {
    return issue<cero_gnttab_unmap_grant_ref>(
        CERO_GNTTABOP_unmap_grant_ref, requests, count,
        [](const UnmapRequest& in, cero_gnttab_unmap_grant_ref& out) {
            out = {};
            out.host_addr = in.pte_machine != 0 ? in.pte_machine : by_address(in.address);
            out.handle = in.handle;
        },
        [](UnmapRequest& out, const cero_gnttab_unmap_grant_ref& in) { out.status = in.status; });
}

Status copy(CopyRequest* requests, std::size_t count) noexcept {
    return issue<cero_gnttab_copy>(
        CERO_GNTTABOP_copy, requests, count,
        [](const CopyRequest& in, cero_gnttab_copy& out) {
            out = {};
            const auto side = [](const CopySide& from, auto& to) {
                if (from.is_ref)
                    to.u.ref = from.ref;
                else
                    to.u.gmfn = from.frame.raw();
                to.domid = from.is_ref ? from.domain : static_cast<DomainId>(CERO_DOMID_SELF);
                to.offset = from.offset;
            };
            side(in.source, out.source);
            side(in.target, out.dest);
            out.len = in.length;
            out.flags =
                static_cast<std::uint16_t>((in.source.is_ref ? CERO_GNTCOPY_source_gref : 0) |
                                           (in.target.is_ref ? CERO_GNTCOPY_dest_gref : 0));
        },
        [](CopyRequest& out, const cero_gnttab_copy& in) { out.status = in.status; });
}

} // namespace grant
} // namespace kernel
