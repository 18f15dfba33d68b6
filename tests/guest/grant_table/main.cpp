// SPDX-License-Identifier: BSD-2-Clause
// What:   grant_table_op, version 1, granting to oneself: set-up, map, unmap, copy, permissions,
// bad input. Why:    every disk and network request crosses domains through it. How:    offers own
// pages to the own domain, maps and copies them, and tries what was not granted. Expect: the call
// returns 0 and each element its status, as documented in docs/abi/grants.md.
#include "runtime.hpp"

using namespace guest;

namespace {

Page table_window, source, sink, window;
cero_grant_entry_v1* table;
cero_domid own_id;

void offer(unsigned ref, const Page& page, bool read_only, cero_domid to) {
    table[ref].frame = static_cast<std::uint32_t>(mfn_of(&page));
    table[ref].domid = to;
    __atomic_store_n(
        &table[ref].flags,
        static_cast<std::uint16_t>(CERO_GTF_permit_access | (read_only ? CERO_GTF_readonly : 0)),
        __ATOMIC_SEQ_CST);
}

cero_gnttab_map_grant_ref map(unsigned ref, std::uint32_t flags, cero_domid dom = 0) {
    cero_gnttab_map_grant_ref op{};
    op.host_addr = address(&window);
    op.flags = flags;
    op.ref = ref;
    op.dom = dom;
    op.status = 99;
    check_equal("map_grant_ref's call", grant_table_op(CERO_GNTTABOP_map_grant_ref, &op, 1), 0);
    return op;
}
int unmap(std::uint32_t handle) {
    cero_gnttab_unmap_grant_ref op{};
    op.host_addr = address(&window);
    op.handle = handle;
    op.status = 99;
    check_equal("unmap_grant_ref's call", grant_table_op(CERO_GNTTABOP_unmap_grant_ref, &op, 1), 0);
    return op.status;
}

void set_up() {
    cero_gnttab_query_size size{};
    size.dom = CERO_DOMID_SELF;
    check_equal("query_size", grant_table_op(CERO_GNTTABOP_query_size, &size, 1), 0);
    check_equal("its status", size.status, CERO_GNTST_okay);
    check_true("at least one frame may be had", size.max_nr_frames >= 1);
    print("%u frames, at most %u", size.nr_frames, size.max_nr_frames);

    Word frames[2] = {};
    cero_gnttab_setup_table setup{};
    setup.dom = CERO_DOMID_SELF;
    setup.nr_frames = 1;
    setup.frame_list = address(frames);
    check_equal("setup_table", grant_table_op(CERO_GNTTABOP_setup_table, &setup, 1), 0);
    check_equal("its status", setup.status, CERO_GNTST_okay);
    check_equal(
        "its frame can be mapped writable",
        update_va_mapping(address(&table_window), frames[0] * page_size | pte_rw, CERO_UVMF_INVLPG),
        0);
    table = reinterpret_cast<cero_grant_entry_v1*>(&table_window);
    setup.nr_frames = 1u << 30;
    grant_table_op(CERO_GNTTABOP_setup_table, &setup, 1);
    check_true("more frames than allowed", setup.status < 0);
    setup.nr_frames = 1;
    setup.dom = 0x7777;
    grant_table_op(CERO_GNTTABOP_setup_table, &setup, 1);
    check_equal("of a domain that does not exist", setup.status, CERO_GNTST_bad_domain);

    cero_gnttab_get_version version{};
    version.dom = CERO_DOMID_SELF;
    if (grant_table_op(CERO_GNTTABOP_get_version, &version, 1) == 0)
        check_equal("version", version.version, 1);
}

void mapping() {
    offer(10, source, false, own_id);
    source.words[0] = 0x77;
    cero_gnttab_map_grant_ref op = map(10, CERO_GNTMAP_host_map);
    check_equal("map", op.status, CERO_GNTST_okay);
    check_equal("its bus address", static_cast<long>(op.dev_bus_addr),
                static_cast<long>(mfn_of(&source) * page_size));
    check_equal("the page is seen",
                static_cast<long>(*const_cast<volatile Word*>(&window.words[0])), 0x77);
    *const_cast<volatile Word*>(&window.words[0]) = 0x78;
    check_equal("and can be written",
                static_cast<long>(*const_cast<volatile Word*>(&source.words[0])), 0x78);
    check_equal("the entry is marked", table[10].flags & (CERO_GTF_reading | CERO_GTF_writing),
                CERO_GTF_reading | CERO_GTF_writing);
    check_equal("unmap", unmap(op.handle), CERO_GNTST_okay);
    check_equal("the mark is gone", table[10].flags & (CERO_GTF_reading | CERO_GTF_writing), 0);
    check_trap("the page is gone",
               guarded([] { (void)*const_cast<volatile Word*>(&window.words[0]); }), page_fault);
    check_true("unmap twice", unmap(op.handle) < 0);

    op = map(10, CERO_GNTMAP_host_map | CERO_GNTMAP_readonly);
    check_equal("map read-only", op.status, CERO_GNTST_okay);
    check_equal("the entry is marked", table[10].flags & (CERO_GTF_reading | CERO_GTF_writing),
                CERO_GTF_reading);
    check_trap("store to it", guarded([] { window.words[0] = 1; }), page_fault);
    check_equal("unmap", unmap(op.handle), CERO_GNTST_okay);

    // A batch of one page mapped at two places.
    cero_gnttab_map_grant_ref first = map(10, CERO_GNTMAP_host_map);
    cero_gnttab_map_grant_ref second{};
    second.host_addr = address(&sink);
    second.flags = CERO_GNTMAP_host_map;
    second.ref = 10;
    second.dom = own_id;
    grant_table_op(CERO_GNTTABOP_map_grant_ref, &second, 1);
    check_equal("second mapping", second.status, CERO_GNTST_okay);
    check_equal("unmap the first", unmap(first.handle), CERO_GNTST_okay);
    check_true("the entry is still marked", (table[10].flags & CERO_GTF_writing) != 0);
    cero_gnttab_unmap_grant_ref undo{address(&sink), 0, second.handle, 0, 0};
    grant_table_op(CERO_GNTTABOP_unmap_grant_ref, &undo, 1);
    check_equal("unmap the second", undo.status, CERO_GNTST_okay);
    check_equal("the mark is gone", table[10].flags & (CERO_GTF_reading | CERO_GTF_writing), 0);
    update_va_mapping(address(&sink), mfn_of(&sink) * page_size | pte_rw, CERO_UVMF_INVLPG);
    update_va_mapping(address(&window), mfn_of(&window) * page_size | pte_rw, CERO_UVMF_INVLPG);
}

void by_machine_address() {
    cero_gnttab_map_grant_ref op{};
    op.host_addr = entry_maddr(address(&window));
    op.flags = CERO_GNTMAP_host_map | CERO_GNTMAP_contains_pte;
    op.ref = 10;
    op.dom = own_id;
    check_equal("map by the entry's address", grant_table_op(CERO_GNTTABOP_map_grant_ref, &op, 1),
                0);
    check_equal("its status", op.status, CERO_GNTST_okay);
    mmuext_one(CERO_MMUEXT_INVLPG_LOCAL, address(&window));
    check_equal("the page is seen",
                static_cast<long>(*const_cast<volatile Word*>(&window.words[0])), 0x78);
    cero_gnttab_unmap_grant_ref undo{entry_maddr(address(&window)), 0, op.handle, 0, 0};
    grant_table_op(CERO_GNTTABOP_unmap_grant_ref, &undo, 1);
    check_equal("unmap", undo.status, CERO_GNTST_okay);
    update_va_mapping(address(&window), mfn_of(&window) * page_size | pte_rw, CERO_UVMF_INVLPG);
}

void refusals() {
    check_equal("entry that offers nothing", map(11, CERO_GNTMAP_host_map).status,
                CERO_GNTST_general_error);
    check_equal("entry beyond the table", map(0x7fffffff, CERO_GNTMAP_host_map).status,
                CERO_GNTST_bad_gntref);
    // Xen wants the number of the domain here; Cero takes SELF too.
    const cero_gnttab_map_grant_ref by_self = map(10, CERO_GNTMAP_host_map, CERO_DOMID_SELF);
    if (by_self.status == CERO_GNTST_okay)
        check_equal("unmap", unmap(by_self.handle), CERO_GNTST_okay);
    update_va_mapping(address(&window), mfn_of(&window) * page_size | pte_rw, CERO_UVMF_INVLPG);
    check_equal("domain that does not exist", map(10, CERO_GNTMAP_host_map, 0x7777).status,
                CERO_GNTST_bad_domain);
    offer(12, source, false, static_cast<cero_domid>(own_id + 1));
    check_true("entry for another domain", map(12, CERO_GNTMAP_host_map).status < 0);
    offer(13, source, true, own_id);
    check_true("writable, when it is offered read-only", map(13, CERO_GNTMAP_host_map).status < 0);
    check_equal("nothing to do: no kind of mapping", map(10, 0).status, CERO_GNTST_bad_gntref);
    table[14].frame = 0xfffffff;
    table[14].domid = own_id;
    table[14].flags = CERO_GTF_permit_access;
    check_true("frame that does not exist", map(14, CERO_GNTMAP_host_map).status < 0);
    offer(15, window, false, own_id);
    table[15].frame =
        static_cast<std::uint32_t>((*entry_of(address(&window), 2) & pte_frame_mask) >> 12);
    check_true("a page table, writable", map(15, CERO_GNTMAP_host_map).status < 0);
    cero_gnttab_map_grant_ref op{};
    op.host_addr = hypervisor_address;
    op.flags = CERO_GNTMAP_host_map;
    op.ref = 10;
    op.dom = own_id;
    grant_table_op(CERO_GNTTABOP_map_grant_ref, &op, 1);
    check_true("at an address of the hypervisor", op.status < 0);
    op.host_addr = 0x123456789000;
    grant_table_op(CERO_GNTTABOP_map_grant_ref, &op, 1);
    check_true("at an address without a table", op.status < 0);
    check_equal("none of these marked an entry",
                table[10].flags & (CERO_GTF_reading | CERO_GTF_writing), 0);
    check_true("unmap of a handle that does not exist", unmap(0x12345678) < 0);
    check_true("the window is as before", !guarded([] { window.words[0] = 1; }).happened());

    for (const Word command : {Word{CERO_GNTTABOP_map_grant_ref},
                               Word{CERO_GNTTABOP_unmap_grant_ref}, Word{CERO_GNTTABOP_copy},
                               Word{CERO_GNTTABOP_setup_table}, Word{CERO_GNTTABOP_query_size}})
        check_equal("bad array",
                    hypercall(CERO_HYPERCALL_grant_table_op, command, unmapped_address, 1),
                    -CERO_EFAULT);
    check_equal("nothing to map", grant_table_op(CERO_GNTTABOP_map_grant_ref, nullptr, 0), 0);
    check_true("unknown command", grant_table_op(99, nullptr, 0) < 0);
}

int copy(cero_gnttab_copy op) {
    op.status = 99;
    check_equal("copy's call", grant_table_op(CERO_GNTTABOP_copy, &op, 1), 0);
    return op.status;
}

void copying() {
    for (unsigned i = 0; i < 512; ++i)
        source.words[i] = i;
    cero_gnttab_copy op{};
    op.source.u.ref = 10;
    op.source.domid = CERO_DOMID_SELF;
    op.dest.u.gmfn = mfn_of(&sink);
    op.dest.domid = CERO_DOMID_SELF;
    op.len = 4096;
    op.flags = CERO_GNTCOPY_source_gref;
    check_equal("copy of a page", copy(op), CERO_GNTST_okay);
    unsigned wrong = 0;
    for (unsigned i = 0; i < 512; ++i)
        wrong += sink.words[i] != i;
    check_equal("wrong words", wrong, 0);
    op.source.offset = 8;
    op.dest.offset = 4088;
    op.len = 8;
    check_equal("copy of 8 bytes", copy(op), CERO_GNTST_okay);
    check_equal("its effect", static_cast<long>(sink.words[511]), 1);
    op.len = 9;
    check_equal("beyond the page", copy(op), CERO_GNTST_bad_copy_arg);
    op.dest.offset = 0;
    op.source.u.ref = 11;
    check_true("from an entry that offers nothing", copy(op) < 0);
    op.source.u.ref = 10;
    op.flags = CERO_GNTCOPY_source_gref | CERO_GNTCOPY_dest_gref;
    op.dest.u.ref = 13;
    check_true("to an entry that is offered read-only", copy(op) < 0);
    op.flags = CERO_GNTCOPY_dest_gref;
    op.source.u.gmfn = mfn_of(&sink);
    op.dest.u.ref = 10;
    op.len = 16;
    check_equal("to an entry that is offered writable", copy(op), CERO_GNTST_okay);
    op.source.u.gmfn = 0xfffffffff;
    check_true("from a frame that does not exist", copy(op) < 0);
    op.source.u.gmfn = mfn_of(&sink);
    op.source.domid = 0x7777;
    check_true("from a domain that does not exist", copy(op) < 0);
    op.flags = CERO_GNTCOPY_source_gref;
    op.source.u.ref = 10;
    op.source.domid = CERO_DOMID_SELF;
    op.dest.domid = CERO_DOMID_SELF;
    op.dest.u.gmfn = (*entry_of(address(&sink), 2) & pte_frame_mask) >> 12;
    check_true("to a page table", copy(op) < 0);
    check_equal("none of these marked an entry",
                table[10].flags & (CERO_GTF_reading | CERO_GTF_writing), 0);
}

} // namespace

void guest::test_main() {
    own_id = 0; // The first domain; a domain cannot ask for its id.
    set_up();
    mapping();
    by_machine_address();
    refusals();
    copying();
}
