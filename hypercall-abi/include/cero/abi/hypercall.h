/* SPDX-License-Identifier: MIT */
/* Hypercall numbers, the multicall entry, and the operations that have no header of their own. */
#ifndef CERO_ABI_HYPERCALL_H
#define CERO_ABI_HYPERCALL_H

#include <cero/abi/types.h>

/* Number in rax; arguments in rdi, rsi, rdx, r10, r8; result in rax; rcx and r11 are destroyed. */
#define CERO_HYPERCALL_set_trap_table 0
#define CERO_HYPERCALL_mmu_update 1
#define CERO_HYPERCALL_set_gdt 2
#define CERO_HYPERCALL_stack_switch 3
#define CERO_HYPERCALL_set_callbacks 4
#define CERO_HYPERCALL_fpu_taskswitch 5
#define CERO_HYPERCALL_sched_op_compat 6
#define CERO_HYPERCALL_platform_op 7
#define CERO_HYPERCALL_set_debugreg 8
#define CERO_HYPERCALL_get_debugreg 9
#define CERO_HYPERCALL_update_descriptor 10
#define CERO_HYPERCALL_memory_op 12
#define CERO_HYPERCALL_multicall 13
#define CERO_HYPERCALL_update_va_mapping 14
#define CERO_HYPERCALL_set_timer_op 15
#define CERO_HYPERCALL_event_channel_op_compat 16
#define CERO_HYPERCALL_xen_version 17
#define CERO_HYPERCALL_console_io 18
#define CERO_HYPERCALL_physdev_op_compat 19
#define CERO_HYPERCALL_grant_table_op 20
#define CERO_HYPERCALL_vm_assist 21
#define CERO_HYPERCALL_update_va_mapping_otherdomain 22
#define CERO_HYPERCALL_iret 23
#define CERO_HYPERCALL_vcpu_op 24
#define CERO_HYPERCALL_set_segment_base 25
#define CERO_HYPERCALL_mmuext_op 26
#define CERO_HYPERCALL_xsm_op 27
#define CERO_HYPERCALL_nmi_op 28
#define CERO_HYPERCALL_sched_op 29
#define CERO_HYPERCALL_callback_op 30
#define CERO_HYPERCALL_xenoprof_op 31
#define CERO_HYPERCALL_event_channel_op 32
#define CERO_HYPERCALL_physdev_op 33
#define CERO_HYPERCALL_hvm_op 34
#define CERO_HYPERCALL_sysctl 35
#define CERO_HYPERCALL_domctl 36
#define CERO_HYPERCALL_kexec_op 37
#define CERO_HYPERCALL_tmem_op 38
#define CERO_HYPERCALL_argo_op 39
#define CERO_HYPERCALL_xenpmu_op 40
#define CERO_HYPERCALL_dm_op 41
#define CERO_HYPERCALL_hypfs_op 42
#define CERO_HYPERCALL_arch_0 48
/* Size of the dispatch table: numbers at or above it are -ENOSYS. */
#define CERO_HYPERCALL_COUNT 64

/* multicall: array of these in rdi, count in rsi. args[5] is not used. */
struct cero_multicall_entry {
    uint64_t op;
    int64_t result;
    uint64_t args[6];
};
CERO_ABI_SIZE(struct cero_multicall_entry, 64);

/* xen_version: command in rdi, pointer in rsi. */
#define CERO_XENVER_version 0
#define CERO_XENVER_extraversion 1 /* char[16] */
#define CERO_XENVER_compile_info 2
#define CERO_XENVER_capabilities 3 /* char[1024] */
#define CERO_XENVER_changeset 4    /* char[64] */
#define CERO_XENVER_platform_parameters 5
#define CERO_XENVER_get_features 6
#define CERO_XENVER_pagesize 7
#define CERO_XENVER_guest_handle 8 /* uint8_t[16] */
#define CERO_XENVER_commandline 9  /* char[1024] */
#define CERO_XENVER_build_id 10

struct cero_compile_info {
    char compiler[64];
    char compile_by[16];
    char compile_domain[32];
    char compile_date[32];
};
CERO_ABI_SIZE(struct cero_compile_info, 144);

struct cero_platform_parameters {
    uint64_t virt_start;
};

struct cero_feature_info {
    uint32_t submap_idx; /* in */
    uint32_t submap;     /* out: bits of CERO_FEATURE_* */
};
CERO_ABI_SIZE(struct cero_feature_info, 8);

/* Feature bits of submap 0 (numbers of bits). */
#define CERO_FEATURE_writable_page_tables 0
#define CERO_FEATURE_writable_descriptor_tables 1
#define CERO_FEATURE_auto_translated_physmap 2
#define CERO_FEATURE_supervisor_mode_kernel 3
#define CERO_FEATURE_pae_pgdir_above_4gb 4
#define CERO_FEATURE_mmu_pt_update_preserve_ad 5
#define CERO_FEATURE_highmem_assist 6
#define CERO_FEATURE_gnttab_map_avail_bits 7
#define CERO_FEATURE_hvm_callback_vector 8
#define CERO_FEATURE_hvm_safe_pvclock 9
#define CERO_FEATURE_hvm_pirqs 10
#define CERO_FEATURE_dom0 11
#define CERO_FEATURE_memory_op_vnode_supported 13
#define CERO_FEATURE_linux_rsdp_unrestricted 15
#define CERO_FEATURE_not_direct_mapped 16

/* vm_assist: rdi = command, rsi = type. */
#define CERO_VMASST_CMD_enable 0
#define CERO_VMASST_CMD_disable 1
#define CERO_VMASST_TYPE_4gb_segments 0
#define CERO_VMASST_TYPE_4gb_segments_notify 1
#define CERO_VMASST_TYPE_writable_pagetables 2
#define CERO_VMASST_TYPE_pae_extended_cr3 3
#define CERO_VMASST_TYPE_architectural_iopl 4
#define CERO_VMASST_TYPE_runstate_update_flag 5
#define CERO_VMASST_TYPE_m2p_strict 32

/* console_io: rdi = command, rsi = count, rdx = buffer. */
#define CERO_CONSOLEIO_write 0
#define CERO_CONSOLEIO_read 1

/* The hypervisor's part of each address space: level-4 slots 256 to 271. */
#define CERO_HYPERVISOR_VIRT_START 0xffff800000000000ull
#define CERO_HYPERVISOR_VIRT_END 0xffff880000000000ull
/* Read-only machine-to-physical table, one uint64_t per machine frame. */
#define CERO_M2P_VIRT_START 0xffff800000000000ull
#define CERO_M2P_VIRT_END 0xffff804000000000ull
#define CERO_INVALID_M2P_ENTRY (~0ull)
#define CERO_INVALID_FRAME (~0ull)

/* CPUID signature at leaf 0x40000000, and the forced-emulation prefix that precedes a cpuid
 * instruction. */
#define CERO_CPUID_SIGNATURE_EBX 0x566e6558u /* "XenV" */
#define CERO_CPUID_SIGNATURE_ECX 0x65584d4du /* "MMXe" */
#define CERO_CPUID_SIGNATURE_EDX 0x4d4d566eu /* "nVMM" */
#define CERO_CPUID_BASE 0x40000000u
#define CERO_EMULATE_PREFIX "\x0f\x0b\x78\x65\x6e"

#endif
