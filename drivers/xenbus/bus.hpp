// SPDX-License-Identifier: BSD-2-Clause
// Xenbus: the devices whose two ends find each other through XenStore, and their state machine.
//
// Each end owns a directory with a `state` key, and watches the other's. A driver derives from
// Device; the bus creates one object per directory, on the watch thread, and deletes it when the
// directory goes. All virtual functions run on the watch thread, one at a time.
#pragma once

#include "store.hpp"

#include <cero/lib/intrusive_list.hpp>
#include <kernel/log_limiter.hpp>

#include <new>

namespace drivers::xenbus {

/// XenbusState; the values are the protocol's.
enum class State : std::uint8_t {
    unknown = 0,
    initialising = 1,
    init_wait = 2,
    initialised = 3,
    connected = 4,
    closing = 5,
    closed = 6,
    reconfiguring = 7,
    reconfigured = 8,
};

enum class End : std::uint8_t { front, back };

/// The facts of one directory, as the bus found them.
struct NodeInfo {
    NodePath own;
    NodePath other;
    kernel::DomainId other_id;
    std::uint64_t id; ///< last component of the path: virtual device number, handle
};

class Bus;

/// One end of one split device.
class Device {
public:
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    [[nodiscard]] const char* own() const noexcept { return info_.own; }
    [[nodiscard]] const char* other() const noexcept { return info_.other; }
    [[nodiscard]] kernel::DomainId other_id() const noexcept { return info_.other_id; }
    [[nodiscard]] std::uint64_t id() const noexcept { return info_.id; }
    [[nodiscard]] State state() const noexcept { return state_; }

    /// Called once after creation, before the other end's state is known. A failure is written to
    /// the store and closes the device.
    virtual Status start() = 0;
    /// The other end's state changed (or is seen for the first time; unknown: its directory is
    /// gone).
    virtual void other_changed(State other) = 0;
    /// The directory is gone, or the domain: let go of everything. Deletion follows.
    virtual void stop() = 0;

protected:
    explicit Device(const NodeInfo& info) noexcept : info_{info} {}

    /// Writes our state key, unless it has the value already.
    Status set_state(State state);
    /// A front end is usable now: the boot waits for this. Closing and failing settle it too.
    void settled() noexcept;
    /// Reports to log and store, and goes to Closing.
    void fail(Errno error, const char* what);

    [[nodiscard]] NodePath own_key(const char* key) const noexcept {
        return NodePath{"%s/%s", own(), key};
    }
    [[nodiscard]] NodePath other_key(const char* key) const noexcept {
        return NodePath{"%s/%s", other(), key};
    }
    [[nodiscard]] std::uint64_t own_number(const char* key, std::uint64_t fallback) const;
    [[nodiscard]] std::uint64_t other_number(const char* key, std::uint64_t fallback) const;
    Status write_own(const char* key, std::uint64_t value,
                     Transaction transaction = no_transaction);
    /// For every line that the other end can provoke again and again.
    [[nodiscard]] kernel::LogLimiter& lines() noexcept { return lines_; }

private:
    friend class Bus;
    static void watch_fired(Watch& watch, const char* path);
    NodeInfo info_;
    NodePath other_state_path_{"%s/state", info_.other.c_str()};
    State state_{State::initialising};
    State other_seen_{State::unknown};
    Watch watch_{};
    kernel::LogLimiter lines_;
    const struct DriverType* type_{};
    Bus* bus_{};
    bool awaited_{};
    cero::ListLink link_{};
};

/// A kind of device, e.g. front "vbd". Registered at initcall time (level subsys or device).
struct DriverType {
    const char* type;
    End end;
    /// Null when memory is out.
    Device* (*create)(const NodeInfo& info);
    cero::ListLink link{};
};
/// The usual DriverType::create.
template <typename Driver>
Device* create_device(const NodeInfo& info) {
    return new (std::nothrow) Driver{info};
}
void register_driver(DriverType& type) noexcept;

} // namespace drivers::xenbus
