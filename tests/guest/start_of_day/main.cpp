// SPDX-License-Identifier: BSD-2-Clause
// What:   the state in which a domain starts: registers, start_info, initial page tables,
// shared_info. Why:    every kernel builds on it before its first hypercall. How:    looks at what
// the entry stub kept, and walks the tables. Expect: as documented in docs/abi/start-of-day.md.
#include "runtime.hpp"

using namespace guest;

extern "C" {
extern Word rt_start_rsp, rt_start_rflags;
extern std::uint16_t rt_start_selectors[6];
extern Word rt_start_registers[14];
extern char _start[], rt_image_end[];
}

namespace {

void registers() {
    check_equal("cs", rt_start_selectors[0], CERO_FLAT_RING3_CS64);
    check_equal("ss", rt_start_selectors[1], CERO_FLAT_RING3_SS);
    for (unsigned i = 2; i < 6; ++i)
        check_equal("ds, es, fs, gs", rt_start_selectors[i], 0);
    for (unsigned i = 0; i < 14; ++i)
        check_equal("general registers but rsi and rsp", static_cast<long>(rt_start_registers[i]),
                    0);
    check_equal("rflags: IF, nothing else", static_cast<long>(rt_start_rflags & ~Word{2}), 0x200);
    const Word stack_page = start_info->pt_base + start_info->nr_pt_frames * page_size;
    check_equal("rsp is the top of the boot stack, which follows the page tables",
                static_cast<long>(rt_start_rsp), static_cast<long>(stack_page + page_size));
}

void start_information() {
    check_true("magic", __builtin_memcmp(start_info->magic, "xen-3", 5) == 0);
    check_true("start_info lies on a page", address(start_info) % page_size == 0);
    check_true("pages", start_info->nr_pages > 1024);
    check_true("flags name the first domain",
               !is_first_domain() || (start_info->flags & CERO_SIF_PRIVILEGED) != 0);
    check_true("the p2m list is on a page", start_info->mfn_list % page_size == 0);
    check_true("shared_info is a page",
               start_info->shared_info % page_size == 0 && start_info->shared_info != 0);
    if (is_first_domain())
        check_equal("the first domain has no store", start_info->store_evtchn, 0);
}

void initial_tables() {
    unsigned bad = 0, writable_tables = 0;
    const Word end =
        (start_info->pt_base + start_info->nr_pt_frames * page_size + 0x7ffff) & ~Word{0x3fffff};
    for (Word va = virt_base; va < end; va += page_size) {
        const volatile Word* entry = entry_of(va);
        if (entry == nullptr || (*entry & pte_present) == 0) {
            ++bad;
            continue;
        }
        const bool is_table = va >= start_info->pt_base &&
                              va < start_info->pt_base + start_info->nr_pt_frames * page_size;
        const Word mfn = (*entry & pte_frame_mask) / page_size;
        if (mfn != mfn_of_pfn((va - virt_base) / page_size))
            ++bad;
        if (is_table && (*entry & pte_writable) != 0)
            ++writable_tables;
        if (!is_table && (*entry & pte_writable) == 0)
            ++bad;
    }
    check_equal("pages of the initial mapping that are wrong", bad, 0);
    check_equal("page tables that are mapped writable", writable_tables, 0);
    unsigned wrong = 0;
    for (Word pfn = 0; pfn < start_info->nr_pages; ++pfn) {
        const Word mfn = mfn_of_pfn(pfn);
        wrong += mfn != CERO_INVALID_FRAME && pfn_of_mfn(mfn) != pfn;
    }
    check_equal("frames whose machine-to-physical entry is wrong", wrong, 0);
}

void shared_information() {
    check_true("time is valid at once: tsc_to_system_mul", vcpu_info().time.tsc_to_system_mul != 0);
    check_equal("time version is even", vcpu_info().time.version & 1, 0);
    for (unsigned i = 0; i < CERO_LEGACY_MAX_VCPUS; ++i)
        check_equal("events are masked at start", shared_info->vcpu_info[i].evtchn_upcall_mask, 1);
    check_equal("wall clock version is even", shared_info->wc_version & 1, 0);
    check_true("wall clock is set", shared_info->wc_sec != 0);
}

} // namespace

void guest::test_main() {
    registers();
    start_information();
    initial_tables();
    shared_information();
}
