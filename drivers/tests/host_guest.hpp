// SPDX-License-Identifier: BSD-2-Clause
// HostGuest: a guest's memory, grants and event ports for host tests of back ends. The kernel's
// grant and event functions work on the one that exists. A grant is mapped with mmap(), so a back
// end that uses a page after it gave it back dies.
#pragma once

#include <kernel/event.hpp>
#include <kernel/grant.hpp>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace host {

/// What the kernel has logged.
extern std::vector<std::string> log_lines;

class HostGuest {
public:
    static constexpr kernel::DomainId id = 7;

    explicit HostGuest(unsigned frames);
    ~HostGuest();
    HostGuest(const HostGuest&) = delete;
    HostGuest& operator=(const HostGuest&) = delete;

    // The guest's side.
    [[nodiscard]] std::byte* frame(std::uint64_t number) const;
    [[nodiscard]] kernel::grant::Ref grant(std::uint64_t frame, bool writable);
    void revoke(kernel::grant::Ref ref) { grants_.at(ref).is_given = false; }
    void send_event(kernel::event::Port remote);
    [[nodiscard]] unsigned events(kernel::event::Port remote) const;

    // What the test watches and disturbs.
    unsigned map_count{};  ///< grants mapped so far
    unsigned failure_in{}; ///< the n-th operation from now on that may fail fails; 0: none
    std::function<void()>
        disturb{}; ///< runs inside each grant operation: the guest writes meanwhile
    std::function<bool()>
        while_asleep{}; ///< runs when the back end sleeps; false: it sleeps for ever
    [[nodiscard]] std::size_t mappings() const { return mappings_.size(); }
    [[nodiscard]] std::size_t open_ports() const { return ports_.size(); }
    [[nodiscard]] std::size_t reserved_areas() const { return areas_.size(); }
    /// While set, what the back end raises waits for deliver_raised(), as it waits for the kernel's
    /// quota.
    bool holds_raised{};
    /// Runs the handler of each raised port once; false when there is none.
    bool deliver_raised();
    [[nodiscard]] std::size_t raised() const { return raised_.size(); }
    /// Whether the back end takes no more events that the guest sends to this port of its own.
    [[nodiscard]] bool is_masked(kernel::event::Port remote) const;

    // The kernel's side.
    bool fails();
    void map(kernel::grant::MapRequest& request);
    void unmap(kernel::grant::UnmapRequest& request);
    void copy(kernel::grant::CopyRequest& request);
    void* reserve(std::size_t pages);
    void release(void* address, std::size_t pages);
    kernel::event::Port bind(kernel::event::Port remote);
    void set_handler(kernel::event::Port port, kernel::event::Handler handler, void* context);
    void notify(kernel::event::Port port);
    void raise(kernel::event::Port port);
    void mask(kernel::event::Port port);
    /// Events are unmasked.
    void deliver_all();
    void close(kernel::event::Port port);

    static HostGuest* current;
    static kernel::Nanoseconds now; ///< what the clock shows

private:
    struct Grant {
        std::uint64_t frame;
        bool is_writable;
        bool is_given;
    };
    struct Port {
        kernel::event::Port remote;
        kernel::event::Handler handler;
        void* context;
        bool is_masked;
    };
    /// Where a side's bytes are; null: not granted so.
    [[nodiscard]] std::byte* copy_side(const kernel::grant::CopySide& side, bool is_written) const;

    int file_;
    unsigned frames_;
    std::byte* memory_;
    std::vector<Grant> grants_;
    std::map<kernel::grant::Handle, std::byte*> mappings_;
    std::map<std::byte*, std::size_t> areas_;
    std::map<kernel::event::Port, Port> ports_;
    std::map<kernel::event::Port, unsigned> events_; ///< by the guest's port
    std::set<kernel::event::Port> raised_;
    kernel::grant::Handle next_handle_{100};
    kernel::event::Port next_port_{1};
};

} // namespace host
