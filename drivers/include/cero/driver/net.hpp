// SPDX-License-Identifier: BSD-2-Clause
// NetDevice and PacketBuffer: how packets pass between NIC drivers, frontends, backends, the switch
// and lwIP.
#pragma once

#include <cero/lib/atomic.hpp>
#include <cero/lib/intrusive_list.hpp>
#include <cero/lib/result.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>

namespace drivers {

using cero::Errno;
using cero::IntrusiveList;
using cero::ListLink;
using cero::Result;
using cero::Status;

struct MacAddress {
    std::uint8_t byte[6]{};
    [[nodiscard]] bool is_multicast() const noexcept { return (byte[0] & 1) != 0; }
    constexpr auto operator<=>(const MacAddress&) const noexcept = default;
};
/// "xx:xx:xx:xx:xx:xx", nothing more. False: it is not that.
[[nodiscard]] bool parse_mac(const char* text, MacAddress& mac) noexcept;

enum class Checksum : std::uint8_t {
    complete, ///< the packet carries its checksums; nobody has verified them
    verified, ///< they are right, or the packet never left this machine
    partial,  ///< the L4 checksum field holds the pseudo-header sum only: a NIC or software
              ///< completes it
};

enum class Gso : std::uint8_t { none, tcp4, tcp6 };

struct NetFeatures {
    bool scatter_gather{}; ///< takes packets of several fragments
    bool tx_checksum{};    ///< takes Checksum::partial
    bool tso4{};           ///< takes Gso::tcp4
    bool tso6{};
};

/// A run of bytes inside one page.
struct PacketFragment {
    std::byte* data;
    std::uint32_t length;
    void* page; ///< page that goes back to the allocator with the packet; null for the inline part
};

/// One Ethernet frame, or one TCP segment longer than the MTU (gso). Lives in a page of its own:
/// the header below, then `inline_size` bytes of which the first `default_headroom` are left free
/// for headers of drivers. Longer packets continue in whole pages. Counted, because the switch
/// floods one buffer to several ports: with more than one reference it is read-only.
class PacketBuffer {
public:
    static constexpr std::size_t max_fragments = 19; ///< 64 KiB in pages, and the inline part
    static constexpr std::size_t header_size = 576;
    static constexpr std::size_t inline_size = 4096 - header_size;
    static constexpr std::size_t default_headroom = 64;

    PacketBuffer(const PacketBuffer&) = delete;
    PacketBuffer& operator=(const PacketBuffer&) = delete;

    /// An empty packet with one reference, or null when memory is out. Event or thread context.
    [[nodiscard]] static PacketBuffer* allocate() noexcept;
    void acquire() noexcept { references_.fetch_add(1, cero::Order::relaxed); }
    void release() noexcept;
    [[nodiscard]] bool is_shared() const noexcept {
        return references_.load(cero::Order::acquire) > 1;
    }

    /// Start of the inline area.
    [[nodiscard]] std::byte* inline_area() noexcept {
        return reinterpret_cast<std::byte*>(this) + header_size;
    }
    /// Sets the first fragment to `length` bytes of the inline area, `headroom` bytes into it.
    void set_inline(std::size_t headroom, std::size_t length) noexcept {
        fragments[0] = {inline_area() + headroom, static_cast<std::uint32_t>(length), nullptr};
        fragment_count = 1;
    }
    /// Appends a fresh page of `length` bytes; null when memory or fragments are out.
    [[nodiscard]] std::byte* append_page(std::size_t length) noexcept;
    /// Appends the inline data of an unshared packet of one fragment, which ceases to exist on its
    /// own. Precondition: fragment_count < max_fragments.
    void absorb(PacketBuffer& other) noexcept;
    /// Bytes free in front of the first fragment.
    [[nodiscard]] std::size_t headroom() const noexcept {
        return static_cast<std::size_t>(fragments[0].data -
                                        reinterpret_cast<const std::byte*>(this)) -
               header_size;
    }
    [[nodiscard]] std::size_t length() const noexcept {
        std::size_t sum = 0;
        for (unsigned i = 0; i < fragment_count; ++i)
            sum += fragments[i].length;
        return sum;
    }
    /// Memory that the packet occupies.
    [[nodiscard]] unsigned pages() const noexcept {
        return fragment_count > 1 ? fragment_count : 1;
    }
    /// Copies out / in up to `size` bytes from `offset`; returns the number copied.
    std::size_t copy_out(std::size_t offset, void* to, std::size_t size) const noexcept;
    /// Appends bytes from memory, in as few fragments as they need. nomem, msgsize.
    [[nodiscard]] Status append(const void* from, std::size_t size) noexcept;
    /// A private copy with one reference, or null.
    [[nodiscard]] PacketBuffer* clone() const noexcept;

    PacketFragment fragments[max_fragments];
    std::uint32_t fragment_count{};
    Checksum checksum{Checksum::complete};
    Gso gso{Gso::none};
    std::uint16_t checksum_start{};  ///< partial: offset of the L4 header in the frame
    std::uint16_t checksum_offset{}; ///< partial: offset of the checksum field in the L4 header
    std::uint16_t gso_size{};        ///< payload bytes per segment
    void* owner_data{};              ///< for the current holder
    ListLink link{};                 ///< in a PacketList of the current holder

private:
    PacketBuffer() noexcept = default;
    cero::Atomic<std::uint32_t> references_{1};
};
static_assert(sizeof(PacketBuffer) <= PacketBuffer::header_size);

using PacketList = IntrusiveList<PacketBuffer, &PacketBuffer::link>;

/// Cuts a gso packet into segments of gso_size that stand on their own, with partial checksums.
/// Consumes `packet`; what cannot be built for lack of memory is lost, as on a wire. Malformed:
/// dropped.
void segment_packet(PacketBuffer& packet, PacketList& segments) noexcept;
/// Turns `packet` into what a device with `features` takes: segmented, checksummed, in one piece as
/// needed. Consumes it and appends the results to `out`.
void adapt_packet(PacketBuffer& packet, const NetFeatures& features, PacketList& out) noexcept;
/// Computes a partial checksum in software: for devices and guests that cannot. False: malformed.
bool complete_checksum(PacketBuffer& packet) noexcept;
/// Derives checksum_start/offset of a frame that says "partial" without saying where (netif).
/// False: malformed.
bool locate_checksum(PacketBuffer& packet) noexcept;
/// Equal for all packets of one TCP or UDP flow, and for all other packets between two addresses.
[[nodiscard]] std::uint32_t flow_hash(const PacketBuffer& packet) noexcept;

struct NetStatistics {
    std::uint64_t rx_packets{}, rx_bytes{}, rx_dropped{};
    std::uint64_t tx_packets{}, tx_bytes{}, tx_dropped{};
};

/// Consumer of what a device receives.
class NetReceiver {
public:
    /// Takes over every packet of the list (leaves it empty). Event or thread context.
    virtual void receive(PacketList& packets) noexcept = 0;
    virtual void link_changed(bool) noexcept {}

protected:
    ~NetReceiver() = default;
};

/// A network interface: a NIC, a frontend, or a port of the switch.
class NetDevice {
public:
    static constexpr std::size_t name_size = 16;
    NetDevice(const NetDevice&) = delete;
    NetDevice& operator=(const NetDevice&) = delete;

    [[nodiscard]] const char* name() const noexcept { return name_; }
    [[nodiscard]] const MacAddress& mac() const noexcept { return mac_; }
    [[nodiscard]] std::uint32_t mtu() const noexcept { return mtu_; }
    [[nodiscard]] const NetFeatures& features() const noexcept { return features_; }
    [[nodiscard]] bool link_up() const noexcept { return link_up_; }
    [[nodiscard]] const NetStatistics& statistics() const noexcept { return statistics_; }

    /// Takes over every packet of the list; what does not fit is dropped and counted. One
    /// notification of the device per call. The packet must respect features(). Event or thread
    /// context.
    virtual void transmit(PacketList& packets) noexcept = 0;
    void transmit_one(PacketBuffer& packet) noexcept {
        PacketList list;
        list.push_back(packet);
        transmit(list);
    }
    /// Null detaches: packets are dropped. Returns the previous receiver.
    virtual NetReceiver* set_receiver(NetReceiver* receiver) noexcept {
        NetReceiver* before = receiver_;
        receiver_ = receiver;
        if (receiver != nullptr)
            receiver->link_changed(link_up_);
        return before;
    }

protected:
    NetDevice() noexcept = default;
    virtual ~NetDevice() = default;
    void set_name(const char* name) noexcept;
    void set_link(bool up) noexcept {
        link_up_ = up;
        if (receiver_ != nullptr)
            receiver_->link_changed(up);
    }
    void deliver(PacketList& packets) noexcept;

    MacAddress mac_{};
    std::uint32_t mtu_{1500};
    NetFeatures features_{};
    NetStatistics statistics_{};
    NetReceiver* receiver_{};
    bool link_up_{};

private:
    friend class NetRegistry;
    friend struct NetRegistryState;
    char name_[name_size]{};
    ListLink registry_link_{};
};

/// Told of interfaces that come and go (thread context, no lock held); a new listener hears of
/// those there.
class NetListener {
public:
    virtual void net_added(NetDevice& device) noexcept = 0;
    /// After this returns the device no longer exists: detach the receiver here.
    virtual void net_removed(NetDevice& device) noexcept = 0;
    ListLink link{};

protected:
    ~NetListener() = default;
};

/// Registered interfaces are the ones meant for the host's IP stack: in a guest the frontends (eth0
/// ...), in dom0 the switch's own port (xenbr0). NICs that are uplinks of the switch are not
/// registered.
class NetRegistry {
public:
    [[nodiscard]] static Status add(NetDevice& device);
    static void remove(NetDevice& device);
    [[nodiscard]] static NetDevice* find(const char* name) noexcept;
    [[nodiscard]] static NetDevice* at(std::size_t index) noexcept;
    static void listen(NetListener& listener);
};

/// Drivers announce NICs here. The switch, where one is linked in, takes them as uplinks; otherwise
/// they become host interfaces. Thread context.
void announce_nic(NetDevice& nic);
/// One taker at most; set before NICs are announced.
void set_nic_taker(void (*take)(NetDevice& nic)) noexcept;

} // namespace drivers
