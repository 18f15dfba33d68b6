// SPDX-License-Identifier: BSD-2-Clause
// AF_PACKET: whole Ethernet frames (SOCK_RAW) or their payload (SOCK_DGRAM), in and out.
#include "socket.hpp"
#include "socket_wait.hpp"
#include "stack.hpp"

#include <kernel/memory.hpp>

#include <new>

namespace kernel::net {

namespace {

using drivers::PacketBuffer;

struct LinkAddress {
    std::uint16_t family{af_packet};
    std::uint16_t protocol{}; ///< network order
    std::int32_t interface {};
    std::uint16_t hardware{1};
    std::uint8_t packet_type{};
    std::uint8_t address_length{6};
    std::uint8_t address[8]{};
};
static_assert(sizeof(LinkAddress) == 20);

constexpr std::size_t header_size = 14;
constexpr std::uint16_t every_protocol = swap16(3);

/// A frame in one piece.
struct Frame {
    cero::ListLink link;
    LinkAddress from;
    std::size_t size;
    [[nodiscard]] char* bytes() noexcept { return reinterpret_cast<char*>(this + 1); }
};

class PacketSocket final : public Socket {
public:
    PacketSocket(int kind, int number) noexcept
        : Socket{af_packet, kind, number}, wanted_{static_cast<std::uint16_t>(number)} {}

    Status bind(const Address& address) noexcept override {
        LinkAddress link;
        if (!address.get(link) || link.family != af_packet)
            return Errno::inval;
        StackGuard guard;
        if (link.interface != 0 && link.interface != loopback_index &&
            find_interface(link.interface) == nullptr)
            return Errno::nodev;
        interface_ = link.interface;
        if (link.protocol != 0)
            wanted_ = link.protocol;
        return {};
    }
    Status local_address(Address& out) noexcept override {
        LinkAddress link;
        link.interface = interface_;
        link.protocol = wanted_;
        StackGuard guard;
        if (Interface* found = find_interface(interface_))
            std::memcpy(link.address, found->device().mac().byte, 6);
        out.set(link);
        return {};
    }
    Result<std::size_t> send(Message& message) noexcept override;
    Result<std::size_t> receive(Message& message) noexcept override;
    std::uint32_t poll(PollTable* table) noexcept override {
        if (table != nullptr)
            table->watch(queue_);
        return poll_event::writable | (frames_.empty() ? 0U : poll_event::readable);
    }
    Status set_option(int level, int, const char*, std::size_t) noexcept override {
        constexpr int sol_packet = 263;
        return level == sol_packet ? Status{} : Status{Errno::noprotoopt};
    }
    void close() noexcept override;

    /// Stack held.
    void offer(Interface& interface, PacketBuffer& packet, bool outgoing) noexcept;
    cero::ListLink all_link;

private:
    ~PacketSocket() override = default;
    static constexpr std::size_t limit = 512;
    PollQueue queue_;
    cero::IntrusiveList<Frame, &Frame::link> frames_;
    std::size_t count_{};
    std::uint16_t wanted_;
    int interface_{};
};

cero::IntrusiveList<PacketSocket, &PacketSocket::all_link> packet_sockets;

std::uint8_t packet_type_of(const char* frame, Interface& interface, bool outgoing) noexcept {
    enum : std::uint8_t { host, broadcast, multicast, other_host, outgoing_packet };
    if (outgoing)
        return outgoing_packet;
    if ((frame[0] & 1) != 0)
        return static_cast<unsigned char>(frame[0]) == 0xff ? broadcast : multicast;
    return std::memcmp(frame, interface.device().mac().byte, 6) == 0 ? host : other_host;
}

void PacketSocket::offer(Interface& interface, PacketBuffer& packet, bool outgoing) noexcept {
    if (interface_ != 0 && interface_ != interface.index())
        return;
    const std::size_t size = packet.length();
    if (size < header_size || count_ >= limit)
        return;
    char head[header_size];
    packet.copy_out(0, head, sizeof(head));
    std::uint16_t protocol_word = 0;
    std::memcpy(&protocol_word, head + 12, 2);
    if (wanted_ != every_protocol && (wanted_ != protocol_word || outgoing))
        return;
    PacketBuffer* copy = nullptr; // programs want to see real checksums
    PacketBuffer* source = &packet;
    if (packet.checksum == drivers::Checksum::partial) {
        copy = packet.clone();
        if (copy == nullptr || !drivers::complete_checksum(*copy)) {
            if (copy != nullptr)
                copy->release();
            return;
        }
        source = copy;
    }
    void* memory = kmalloc(sizeof(Frame) + size);
    if (memory != nullptr) {
        auto* frame = new (memory) Frame{};
        frame->size = source->copy_out(0, frame->bytes(), size);
        frame->from.protocol = protocol_word;
        frame->from.interface = interface.index();
        frame->from.packet_type = packet_type_of(head, interface, outgoing);
        std::memcpy(frame->from.address, head + 6, 6);
        frames_.push_back(*frame);
        ++count_;
        queue_.notify(poll_event::readable);
    }
    if (copy != nullptr)
        copy->release();
}

Result<std::size_t> PacketSocket::receive(Message& message) noexcept {
    const bool nonblocking = (message.flags & message_flag::dontwait) != 0;
    Frame* frame = nullptr;
    while (frame == nullptr) {
        TRY(wait_ready(queue_.waiters, nonblocking, options.receive_timeout,
                       [&] { return !frames_.empty(); }));
        StackGuard guard;
        frame = frames_.pop_front();
        if (frame != nullptr)
            --count_;
    }
    const std::size_t skip = type == sock_dgram ? header_size : 0;
    const std::size_t size = frame->size - skip;
    auto put = message.data.put(frame->bytes() + skip, size);
    if (message.address != nullptr)
        message.address->set(frame->from);
    kfree(frame);
    if (!put)
        return put;
    if (*put < size)
        message.out_flags |= message_flag::trunc;
    return (message.flags & message_flag::trunc) != 0 ? size : *put;
}

Result<std::size_t> PacketSocket::send(Message& message) noexcept {
    LinkAddress to;
    to.interface = interface_;
    to.protocol = wanted_;
    if (message.address != nullptr && !message.address->get(to))
        return Errno::inval;
    const std::size_t size = message.data.remaining();
    if (size > 65535)
        return Errno::msgsize;
    auto* bytes = static_cast<char*>(kmalloc(size + header_size));
    if (bytes == nullptr)
        return Errno::nobufs;
    const std::size_t skip = type == sock_dgram ? header_size : 0;
    auto got = message.data.get(bytes + skip, size);
    PacketBuffer* packet = got && *got == size ? PacketBuffer::allocate() : nullptr;
    if (packet == nullptr) {
        kfree(bytes);
        return got ? Errno::nobufs : got.error();
    }
    StackGuard guard;
    Interface* interface = find_interface(to.interface);
    Errno failure = interface == nullptr ? Errno::nxio : Errno::ok;
    if (failure == Errno::ok && skip != 0) {
        std::memcpy(bytes, to.address, 6);
        std::memcpy(bytes + 6, interface->device().mac().byte, 6);
        std::memcpy(bytes + 12, &to.protocol, 2);
    }
    if (failure == Errno::ok && !netif_is_up(&interface->lwip))
        failure = Errno::netdown;
    packet->set_inline(PacketBuffer::default_headroom, 0);
    if (failure == Errno::ok &&
        size + skip <= PacketBuffer::inline_size - PacketBuffer::default_headroom) {
        packet->set_inline(PacketBuffer::default_headroom, size + skip);
        std::memcpy(packet->fragments[0].data, bytes, size + skip);
    } else if (failure == Errno::ok) {
        failure = Errno::msgsize;
    }
    kfree(bytes);
    if (failure != Errno::ok) {
        packet->release();
        return failure;
    }
    interface->queue(*packet); // goes out when the guard is released
    return size;
}

void PacketSocket::close() noexcept {
    {
        StackGuard guard;
        packet_sockets.remove(*this);
        while (Frame* frame = frames_.pop_front())
            kfree(frame);
    }
    delete this;
}

} // namespace

bool has_packet_sockets() noexcept {
    return !packet_sockets.empty();
}

void offer_to_packet_sockets(Interface& interface, PacketBuffer& packet, bool outgoing) noexcept {
    for (PacketSocket& socket : packet_sockets)
        socket.offer(interface, packet, outgoing);
}

Result<Socket*> make_packet_socket(int type, int protocol) noexcept {
    if (current_credentials().euid != 0)
        return Errno::perm;
    if (type != sock_raw && type != sock_dgram)
        return Errno::prototype;
    auto* socket = new (std::nothrow) PacketSocket{type, protocol};
    if (socket == nullptr)
        return Errno::nomem;
    StackGuard guard;
    packet_sockets.push_back(*socket);
    return static_cast<Socket*>(socket);
}

} // namespace kernel::net
