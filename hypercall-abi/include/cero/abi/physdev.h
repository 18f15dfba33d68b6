/* SPDX-License-Identifier: MIT */
/* physdev_op: interrupts and PCI devices of the control domain. */
#ifndef CERO_ABI_PHYSDEV_H
#define CERO_ABI_PHYSDEV_H

#include <cero/abi/types.h>

#define CERO_PHYSDEVOP_irq_status_query 5
#define CERO_PHYSDEVOP_set_iopl 6
#define CERO_PHYSDEVOP_set_iobitmap 7
#define CERO_PHYSDEVOP_apic_read 8
#define CERO_PHYSDEVOP_apic_write 9
#define CERO_PHYSDEVOP_alloc_irq_vector 10
#define CERO_PHYSDEVOP_eoi 12
#define CERO_PHYSDEVOP_map_pirq 13
#define CERO_PHYSDEVOP_unmap_pirq 14
#define CERO_PHYSDEVOP_manage_pci_add 15
#define CERO_PHYSDEVOP_manage_pci_remove 16
#define CERO_PHYSDEVOP_pirq_eoi_gmfn_v1 17
#define CERO_PHYSDEVOP_manage_pci_add_ext 20
#define CERO_PHYSDEVOP_setup_gsi 21
#define CERO_PHYSDEVOP_get_free_pirq 23
#define CERO_PHYSDEVOP_pci_mmcfg_reserved 24
#define CERO_PHYSDEVOP_pci_device_add 25
#define CERO_PHYSDEVOP_pci_device_remove 26
#define CERO_PHYSDEVOP_restore_msi_ext 27
#define CERO_PHYSDEVOP_pirq_eoi_gmfn_v2 28
#define CERO_PHYSDEVOP_prepare_msix 30
#define CERO_PHYSDEVOP_release_msix 31

struct cero_physdev_eoi {
    uint32_t irq;
};
#define CERO_IRQSTAT_needs_eoi (1u << 0)
#define CERO_IRQSTAT_shared (1u << 1)
struct cero_physdev_irq_status_query {
    uint32_t irq;   /* in */
    uint32_t flags; /* out */
};
struct cero_physdev_set_iopl {
    uint32_t iopl;
};
struct cero_physdev_set_iobitmap {
    cero_guest_ptr bitmap;
    uint32_t nr_ports;
    uint32_t pad;
};
CERO_ABI_SIZE(struct cero_physdev_set_iobitmap, 16);
#define CERO_MAP_PIRQ_TYPE_MSI 0
#define CERO_MAP_PIRQ_TYPE_GSI 1
#define CERO_MAP_PIRQ_TYPE_MSI_SEG 3
#define CERO_MAP_PIRQ_TYPE_MULTI_MSI 4
struct cero_physdev_map_pirq {
    cero_domid domid;
    uint16_t pad;
    int32_t type;
    int32_t index; /* GSI; -1 for MSI */
    int32_t pirq;  /* in: wanted or -1; out: the pirq */
    int32_t bus;   /* segment << 16 | bus */
    int32_t devfn;
    int32_t entry_nr; /* MSI-X entry; for MULTI_MSI in/out the number of vectors */
    uint32_t pad1;
    uint64_t table_base; /* MSI-X: machine address of the table; 0 = MSI */
};
CERO_ABI_SIZE(struct cero_physdev_map_pirq, 40);
struct cero_physdev_unmap_pirq {
    cero_domid domid;
    uint16_t pad;
    int32_t pirq;
};
CERO_ABI_SIZE(struct cero_physdev_unmap_pirq, 8);
struct cero_physdev_setup_gsi {
    int32_t gsi;
    uint8_t triggering; /* 0 edge, 1 level */
    uint8_t polarity;   /* 0 active high, 1 active low */
    uint16_t pad;
};
CERO_ABI_SIZE(struct cero_physdev_setup_gsi, 8);
struct cero_physdev_get_free_pirq {
    int32_t type;
    uint32_t pirq; /* out */
};
struct cero_physdev_manage_pci {
    uint8_t bus;
    uint8_t devfn;
};
struct cero_physdev_pci_device {
    uint16_t seg;
    uint8_t bus;
    uint8_t devfn;
};
#define CERO_PCI_DEV_EXTFN 1u
#define CERO_PCI_DEV_VIRTFN 2u
#define CERO_PCI_DEV_PXM 4u
struct cero_physdev_pci_device_add {
    uint16_t seg;
    uint8_t bus;
    uint8_t devfn;
    uint32_t flags;
    struct {
        uint8_t bus;
        uint8_t devfn;
    } physfn;
    uint16_t pad;
    /* uint32_t optarr[] follows when flags ask for it */
};
CERO_ABI_SIZE(struct cero_physdev_pci_device_add, 12);

#endif
