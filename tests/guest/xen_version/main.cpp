// SPDX-License-Identifier: BSD-2-Clause
// What:   xen_version: each command, unknown commands, bad buffers.
// Why:    it is the first hypercall of every kernel; Linux panics without two of the feature bits.
// How:    each command with a good buffer, with buffers that must be refused.
// Expect: values as documented in docs/abi/version.md; -EFAULT for a bad buffer, -ENOSYS for an
// unknown command.
#include "runtime.hpp"

using namespace guest;

namespace {

void check_bad_buffers(const char* what, Word command) {
    for (const Word bad : {hypervisor_address, noncanonical_address, unmapped_address})
        check_equal(what, hypercall(CERO_HYPERCALL_xen_version, command, bad), -CERO_EFAULT);
}

} // namespace

void guest::test_main() {
    const long version = xen_version(CERO_XENVER_version);
    print("version %ld.%ld", version >> 16, version & 0xffff);
    check_true("version is at least 4.0 (Linux asks for it)", version >= 4 << 16);

    static char extra[16];
    check_equal("extraversion", xen_version(CERO_XENVER_extraversion, extra), 0);
    check_true("extraversion ends in NUL", extra[15] == 0);
    check_bad_buffers("extraversion to a bad buffer", CERO_XENVER_extraversion);

    static cero_compile_info compile;
    check_equal("compile_info", xen_version(CERO_XENVER_compile_info, &compile), 0);
    check_true("compile_info names a compiler",
               compile.compiler[0] != 0 && compile.compiler[sizeof compile.compiler - 1] == 0);
    check_bad_buffers("compile_info to a bad buffer", CERO_XENVER_compile_info);

    static char capabilities[1024];
    check_equal("capabilities", xen_version(CERO_XENVER_capabilities, capabilities), 0);
    bool found = false;
    for (unsigned i = 0; i + 14 < sizeof capabilities; ++i)
        found = found || __builtin_memcmp(capabilities + i, "xen-3.0-x86_64", 14) == 0;
    check_true("capabilities name xen-3.0-x86_64", found);
    check_bad_buffers("capabilities to a bad buffer", CERO_XENVER_capabilities);

    static char changeset[64];
    check_equal("changeset", xen_version(CERO_XENVER_changeset, changeset), 0);
    check_bad_buffers("changeset to a bad buffer", CERO_XENVER_changeset);

    cero_platform_parameters platform{};
    check_equal("platform_parameters", xen_version(CERO_XENVER_platform_parameters, &platform), 0);
    check_equal("virt_start", static_cast<long>(platform.virt_start),
                static_cast<long>(CERO_HYPERVISOR_VIRT_START));
    check_bad_buffers("platform_parameters to a bad buffer", CERO_XENVER_platform_parameters);

    cero_feature_info features{0, 0};
    check_equal("get_features", xen_version(CERO_XENVER_get_features, &features), 0);
    print("features 0x%x", features.submap);
    const auto has = [&](unsigned bit) { return (features.submap >> bit & 1) != 0; };
    check_true("mmu_pt_update_preserve_ad is set", has(CERO_FEATURE_mmu_pt_update_preserve_ad));
    check_true("gnttab_map_avail_bits is set", has(CERO_FEATURE_gnttab_map_avail_bits));
    check_true("writable_page_tables is clear", !has(CERO_FEATURE_writable_page_tables));
    check_true("writable_descriptor_tables is clear",
               !has(CERO_FEATURE_writable_descriptor_tables));
    check_true("auto_translated_physmap is clear", !has(CERO_FEATURE_auto_translated_physmap));
    check_true("supervisor_mode_kernel is clear", !has(CERO_FEATURE_supervisor_mode_kernel));
    check_true("dom0 is set in the first domain alone",
               has(CERO_FEATURE_dom0) == is_first_domain());
    features = {1, 0xffffffff};
    check_equal("get_features of submap 1", xen_version(CERO_XENVER_get_features, &features),
                -CERO_EINVAL);
    check_bad_buffers("get_features to a bad buffer", CERO_XENVER_get_features);

    check_equal("pagesize", xen_version(CERO_XENVER_pagesize), 4096);

    static unsigned char handle[16];
    check_equal("guest_handle", xen_version(CERO_XENVER_guest_handle, handle), 0);
    check_bad_buffers("guest_handle to a bad buffer", CERO_XENVER_guest_handle);

    for (const Word command : {Word{11}, Word{63}, Word{0x7fffffff}})
        check_equal("unknown command", xen_version(command), -CERO_ENOSYS);
}
