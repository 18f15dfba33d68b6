// SPDX-License-Identifier: BSD-2-Clause
// guest-flood: Cero's own kernel with a thread that, once a disk and two interfaces are connected,
// does nothing but keep the other ends busy. `flood=` on the command line says how: events (sends
// to the ports of both as fast as it can), rings (has them full of requests with bad grants all the
// time, as no honest front end could), packets (broadcasts that ask for 10.0.2.15), disk (64 reads
// are always under way), several with commas. tests/e2e/guest_flood.py runs it.
#include "arch/x86_64/hypercalls.hpp"
#include "mm/vmap.hpp"
#include "ring/ring.hpp"
#include "xenbus/store.hpp"

#include <cero/abi/grant.h>
#include <cero/abi/io/blk.h>
#include <cero/abi/io/net.h>
#include <cero/abi/types.h>
#include <cero/driver/block.hpp>
#include <cero/driver/net.hpp>
#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>
#include <kernel/thread.hpp>

#include <cstring>
#include <utility>

namespace {

using namespace drivers;

constexpr unsigned max_port = 64; ///< a small guest's ports are below

kernel::WaitQueue devices;
constexpr unsigned nic_count = 2;
NetDevice* nics[nic_count];
unsigned nics_found;
BlockDevice* disk;

struct Watcher final : NetListener, BlockListener {
    void net_added(NetDevice& device) noexcept override {
        if (nics_found < nic_count)
            nics[nics_found++] = &device;
        devices.wake_all();
    }
    void net_removed(NetDevice&) noexcept override {}
    void block_added(BlockDevice& device) noexcept override {
        if (disk == nullptr)
            disk = &device;
        devices.wake_all();
    }
    void block_removed(BlockDevice&) noexcept override {}
};

/// Sends to all ports that lead to another domain, but for XenStore's and the console's.
class EventFlood {
public:
    void find_ports() noexcept {
        for (unsigned port = 1; port < max_port; ++port) {
            cero_evtchn_status status{};
            status.dom = CERO_DOMID_SELF;
            status.port = port;
            if (port == kernel::boot_store_ring().port ||
                port == kernel::boot_console_ring().port ||
                kernel::hyper::event_channel_op(CERO_EVTCHNOP_status, &status) != 0 ||
                status.status != CERO_EVTCHNSTAT_interdomain)
                continue;
            targets_[count_++] = {port};
        }
        kernel::printk(kernel::Level::info, "flood: %u ports\n", count_);
    }
    void run() noexcept {
        kernel::hyper::Multicall<calls> bundle;
        for (unsigned i = 0; count_ != 0 && i < calls; ++i)
            bundle.add(CERO_HYPERCALL_event_channel_op, CERO_EVTCHNOP_send,
                       kernel::by_address(&targets_[i % count_]));
        static_cast<void>(bundle.flush());
    }

private:
    static constexpr unsigned calls = 3;
    cero_evtchn_send targets_[max_port]{};
    unsigned count_{};
};

/// A ring that this domain lent, found by its grant, and kept full behind its front end's back.
class FullRing {
public:
    /// Writes `request` to each slot of the ring's first page.
    template <typename Request>
    void attach(const char* key, std::size_t slot, std::uint32_t slots, const Request& request) {
        const auto ref = xenbus::read_number(key);
        if (!ref || *ref >= max_table_frames * CERO_GRANT_ENTRIES_PER_PAGE)
            return;
        const std::uint64_t frame = *ref / CERO_GRANT_ENTRIES_PER_PAGE;
        std::uint64_t frames[max_table_frames] = {};
        cero_gnttab_setup_table setup{};
        setup.dom = CERO_DOMID_SELF;
        setup.nr_frames = static_cast<std::uint32_t>(frame + 1);
        setup.frame_list = kernel::by_address(frames);
        if (kernel::hyper::grant_table_op(CERO_GNTTABOP_setup_table, &setup, 1) != 0)
            return;
        const auto table = kernel::map_shared_frame(kernel::MachineFrame{frames[frame]});
        if (!table)
            return;
        const auto& entry =
            static_cast<const cero_grant_entry_v1*>(*table)[*ref % CERO_GRANT_ENTRIES_PER_PAGE];
        const auto page = kernel::mfn_to_pfn(kernel::MachineFrame{entry.frame});
        if (!page)
            return;
        auto* const bytes = static_cast<std::byte*>(kernel::pfn_to_virt(*page));
        header_ = reinterpret_cast<RingHeader*>(bytes);
        slots_ = slots;
        const std::size_t end = kernel::page_size - slot;
        for (std::size_t at = sizeof(RingHeader); at <= end; at += slot)
            std::memcpy(bytes + at, &request, sizeof request);
    }
    [[nodiscard]] bool is_attached() const noexcept { return header_ != nullptr; }
    /// All that was answered is asked again. False if nothing was since the last call.
    bool refill() noexcept {
        const std::uint32_t answered = __atomic_load_n(&header_->rsp_prod, __ATOMIC_ACQUIRE);
        __atomic_store_n(&header_->req_prod, answered + slots_, __ATOMIC_RELEASE);
        return std::exchange(answered_, answered) != answered;
    }

private:
    static constexpr unsigned max_table_frames = 32;
    RingHeader* header_{};
    std::uint32_t slots_{};
    std::uint32_t answered_{};
};
FullRing net_rings[nic_count]; ///< of two interfaces
FullRing disk_ring;

void find_rings() noexcept {
    constexpr std::uint32_t bad_grant = 0xffffff;
    cero_netif_tx_request packet{};
    packet.gref = bad_grant;
    packet.size = 60;
    for (unsigned i = 0; i < nic_count; ++i)
        net_rings[i].attach(xenbus::NodePath{"device/vif/%u/tx-ring-ref", i}.c_str(), sizeof packet,
                            256, packet);
    cero_blkif_request read{};
    read.operation = CERO_BLKIF_OP_READ;
    read.nr_segments = 1;
    read.seg[0] = {bad_grant, 0, 7, 0};
    disk_ring.attach("device/vbd/51712/ring-ref0", sizeof(cero_blkif_request), 64, read);
    if (!disk_ring.is_attached())
        disk_ring.attach("device/vbd/51712/ring-ref", sizeof(cero_blkif_request), 32, read);
    if (!net_rings[0].is_attached() || !net_rings[1].is_attached() || !disk_ring.is_attached())
        kernel::panic("flood: cannot find the rings");
}

constexpr unsigned char arp_request[60] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff,               // to all
    0x02, 0,    0,    0,    0,    9,                  // from
    8,    6,                                          // ARP
    0,    1,    8,    0,    6,    4,    0,  1,        // request: Ethernet, IPv4
    0x02, 0,    0,    0,    0,    9,    10, 0, 2, 99, // sender
    0,    0,    0,    0,    0,    0,    10, 0, 2, 15, // target
};

void flood_packets() noexcept {
    PacketList list;
    for (unsigned i = 0; i < 32; ++i) {
        PacketBuffer* const packet = PacketBuffer::allocate();
        if (packet == nullptr)
            break;
        packet->set_inline(PacketBuffer::default_headroom, sizeof arp_request);
        std::memcpy(packet->fragments[0].data, arp_request, sizeof arp_request);
        list.push_back(*packet);
    }
    nics[0]->transmit(list);
}

struct Read {
    BlockRequest request;
    BlockSegment segment;
};
constexpr unsigned reads_at_once = 64;

void start_reads() noexcept {
    auto* const reads = static_cast<Read*>(kernel::kzalloc(reads_at_once * sizeof(Read)));
    for (unsigned i = 0; i < reads_at_once; ++i) {
        void* const page = kernel::alloc_pages(0);
        if (reads == nullptr || page == nullptr)
            kernel::panic("flood: no memory");
        Read& read = *::new (&reads[i]) Read;
        read.segment = {kernel::virt_to_mfn(page).raw() << kernel::page_shift,
                        static_cast<std::byte*>(page), 4096};
        read.request.sector = i * 8;
        read.request.sector_count = 8;
        read.request.segments = &read.segment;
        read.request.segment_count = 1;
        read.request.complete = [](BlockRequest& done) { disk->submit(done); };
        disk->submit(read.request);
    }
}

bool is_asked_for(std::string_view what) noexcept {
    return kernel::command_line_option("flood").value.find(what) != std::string_view::npos;
}

void flood(void*) {
    devices.wait([] { return nics_found == nic_count && disk != nullptr; });
    for (const NetDevice* nic : nics)
        while (!nic->link_up())
            kernel::yield(); // the thread that connects it may run
    static EventFlood events;
    events.find_ports();
    const bool with_events = is_asked_for("events");
    const bool with_packets = is_asked_for("packets");
    if (is_asked_for("disk"))
        start_reads();
    const bool with_rings = is_asked_for("rings");
    if (with_rings)
        find_rings();
    kernel::printk(kernel::Level::info, "flood: begins\n");
    for (;;) {
        if (with_rings) {
            // The front ends shall not see what is done to their rings.
            const kernel::EventGuard masked;
            for (;;) {
                bool was_served = false;
                for (unsigned i = 0; i < 4096; ++i) {
                    for (FullRing& ring : net_rings)
                        was_served |= ring.refill();
                    was_served |= disk_ring.refill();
                }
                // An event costs this side more than the other one: only when that sleeps.
                if (was_served)
                    continue;
                events.run();
            }
        }
        if (with_events)
            events.run();
        if (with_packets)
            flood_packets();
    }
}

void start_flood() {
    static Watcher watcher;
    NetRegistry::listen(watcher);
    BlockRegistry::listen(watcher);
    if (!kernel::spawn_kernel_thread("flood", flood, nullptr))
        kernel::panic("flood: no memory for the thread");
}
CERO_INITCALL(late, start_flood);

} // namespace
