// SPDX-License-Identifier: BSD-2-Clause
// What:   multicall: results, failing entries, nesting, long lists, bad arrays.
// Why:    kernels batch page-table updates and context switches in it.
// How:    lists of xen_version calls, whose result is known.
// Expect: the call returns 0 and each entry its own result; -EFAULT for a bad array.
#include "runtime.hpp"

using namespace guest;

namespace {

cero_multicall_entry list[600];

} // namespace

void guest::test_main() {
    check_equal("list of nothing", multicall(list, 0), 0);

    list[0] = {CERO_HYPERCALL_xen_version, -1, {CERO_XENVER_pagesize, 0, 0, 0, 0, 0}};
    list[1] = {63, -1, {}};
    list[2] = {CERO_HYPERCALL_xen_version, -1, {99, 0, 0, 0, 0, 0}};
    list[3] = {CERO_HYPERCALL_xen_version, -1, {CERO_XENVER_pagesize, 0, 0, 0, 0, 0}};
    check_equal("list with failing entries", multicall(list, 4), 0);
    check_equal("first", list[0].result, 4096);
    check_equal("unknown call", list[1].result, -CERO_ENOSYS);
    check_equal("failing call", list[2].result, -CERO_ENOSYS);
    check_equal("the one after them", list[3].result, 4096);

    for (auto& entry : list)
        entry = {CERO_HYPERCALL_xen_version, -1, {CERO_XENVER_pagesize, 0, 0, 0, 0, 0}};
    check_equal("long list", multicall(list, 600), 0);
    unsigned good = 0;
    for (const auto& entry : list)
        good += entry.result == 4096;
    check_equal("results of a long list", good, 600);

    list[1] = {CERO_HYPERCALL_xen_version, -1, {CERO_XENVER_pagesize, 0, 0, 0, 0, 0}};
    list[0] = {CERO_HYPERCALL_multicall, 0, {address(&list[1]), 1, 0, 0, 0, 0}};
    check_equal("list with a list in it", multicall(list, 1), 0);
    check_equal("nested multicall", list[0].result, -CERO_EINVAL);

    for (const Word bad : {hypervisor_address, noncanonical_address, unmapped_address})
        check_equal("bad array", hypercall(CERO_HYPERCALL_multicall, bad, 1), -CERO_EFAULT);
    static Page page;
    make_readonly(&page);
    check_equal("array that cannot be written",
                hypercall(CERO_HYPERCALL_multicall, address(&page), 1), -CERO_EFAULT);
    check_equal("absurd count", hypercall(CERO_HYPERCALL_multicall, unmapped_address, ~0ul),
                -CERO_EFAULT);
}
