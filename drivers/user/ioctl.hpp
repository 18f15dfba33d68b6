// SPDX-License-Identifier: BSD-2-Clause
// Linux's ioctl numbers and structures of /dev/xen/*: facts of an interface that dom0 programs rely
// on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace drivers::user {

/// Number of an ioctl without direction bits: size in 29:16, group in 15:8, number in 7:0.
[[nodiscard]] constexpr std::uint32_t ioctl_number(char group, unsigned number,
                                                   std::size_t size) noexcept {
    return static_cast<std::uint32_t>(size) << 16 |
           static_cast<std::uint32_t>(static_cast<unsigned char>(group)) << 8 | number;
}

// /dev/xen/privcmd
struct PrivcmdHypercall {
    std::uint64_t op;
    std::uint64_t arg[5];
};
static_assert(sizeof(PrivcmdHypercall) == 48);
struct PrivcmdMmapEntry {
    std::uint64_t va;
    std::uint64_t frame;
    std::uint64_t pages;
};
struct PrivcmdMmap {
    std::int32_t count;
    std::uint16_t domain;
    std::uint16_t pad;
    std::uint64_t entries; ///< PrivcmdMmapEntry[count]
};
static_assert(sizeof(PrivcmdMmap) == 16);
struct PrivcmdMmapBatch {
    std::int32_t count;
    std::uint16_t domain;
    std::uint16_t pad;
    std::uint64_t address;
    std::uint64_t frames; ///< uint64_t[count], in: frames, out: error nibble set
};
static_assert(sizeof(PrivcmdMmapBatch) == 24);
struct PrivcmdMmapBatchV2 {
    std::uint32_t count;
    std::uint16_t domain;
    std::uint16_t pad;
    std::uint64_t address;
    std::uint64_t frames; ///< const uint64_t[count]
    std::uint64_t errors; ///< int[count], out
};
static_assert(sizeof(PrivcmdMmapBatchV2) == 32);
struct PrivcmdMmapResource {
    std::uint16_t domain;
    std::uint16_t pad;
    std::uint32_t type;
    std::uint32_t id;
    std::uint32_t index;
    std::uint64_t count;
    std::uint64_t address;
};
static_assert(sizeof(PrivcmdMmapResource) == 32);
inline constexpr std::uint32_t privcmd_hypercall = ioctl_number('P', 0, sizeof(PrivcmdHypercall));
inline constexpr std::uint32_t privcmd_mmap = ioctl_number('P', 2, sizeof(PrivcmdMmap));
inline constexpr std::uint32_t privcmd_mmapbatch = ioctl_number('P', 3, sizeof(PrivcmdMmapBatch));
inline constexpr std::uint32_t privcmd_mmapbatch_v2 =
    ioctl_number('P', 4, sizeof(PrivcmdMmapBatchV2));
inline constexpr std::uint32_t privcmd_mmap_resource =
    ioctl_number('P', 7, sizeof(PrivcmdMmapResource));
static_assert(privcmd_hypercall == 0x305000);

// /dev/xen/evtchn
struct EvtchnBindInterdomain {
    std::uint32_t remote_domain;
    std::uint32_t remote_port;
};
inline constexpr std::uint32_t evtchn_bind_virq = ioctl_number('E', 0, 4);
inline constexpr std::uint32_t evtchn_bind_interdomain =
    ioctl_number('E', 1, sizeof(EvtchnBindInterdomain));
inline constexpr std::uint32_t evtchn_bind_unbound_port = ioctl_number('E', 2, 4);
inline constexpr std::uint32_t evtchn_unbind = ioctl_number('E', 3, 4);
inline constexpr std::uint32_t evtchn_notify = ioctl_number('E', 4, 4);
inline constexpr std::uint32_t evtchn_reset = ioctl_number('E', 5, 0);
inline constexpr std::uint32_t evtchn_restrict_domid = ioctl_number('E', 6, 2);

// /dev/xen/gntdev
struct GntdevRef {
    std::uint32_t domain;
    std::uint32_t ref;
};
struct GntdevMap {
    std::uint32_t count;
    std::uint32_t pad;
    std::uint64_t index; ///< out: offset for mmap
    GntdevRef refs[1];
};
static_assert(sizeof(GntdevMap) == 24);
struct GntdevUnmap {
    std::uint64_t index;
    std::uint32_t count;
    std::uint32_t pad;
};
static_assert(sizeof(GntdevUnmap) == 16);
struct GntdevOffset {
    std::uint64_t address;
    std::uint64_t offset; ///< out
    std::uint32_t count;  ///< out
    std::uint32_t pad;
};
static_assert(sizeof(GntdevOffset) == 24);
struct GntdevNotify {
    std::uint64_t index; ///< byte offset in the mapping's index space
    std::uint32_t action;
    std::uint32_t port;
};
static_assert(sizeof(GntdevNotify) == 16);
inline constexpr std::uint32_t gntdev_clear_byte = 1;
inline constexpr std::uint32_t gntdev_send_event = 2;
inline constexpr std::uint32_t gntdev_map_grant_ref = ioctl_number('G', 0, sizeof(GntdevMap));
inline constexpr std::uint32_t gntdev_unmap_grant_ref = ioctl_number('G', 1, sizeof(GntdevUnmap));
inline constexpr std::uint32_t gntdev_get_offset = ioctl_number('G', 2, sizeof(GntdevOffset));
inline constexpr std::uint32_t gntdev_set_max_grants = ioctl_number('G', 3, 4);
inline constexpr std::uint32_t gntdev_set_unmap_notify = ioctl_number('G', 7, sizeof(GntdevNotify));

// /dev/xen/xenbus_backend
inline constexpr std::uint32_t xenbus_backend_evtchn = ioctl_number('B', 0, 0);
inline constexpr std::uint32_t xenbus_backend_setup = ioctl_number('B', 1, 0);

} // namespace drivers::user
