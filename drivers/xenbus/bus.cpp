// SPDX-License-Identifier: BSD-2-Clause
// Xenbus: enumeration of device directories by watch, creation and deletion of devices, their
// states.
#include "bus.hpp"

#include <cero/abi/io/store.h>
#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/thread.hpp>
#include <kernel/time.hpp>

#include <cstring>

namespace drivers::xenbus {

namespace {

constexpr kernel::Nanoseconds boot_wait = 10 * kernel::ns_per_s;

State to_state(std::uint64_t number) noexcept {
    return number <= CERO_XENBUS_STATE_reconfigured ? static_cast<State>(number) : State::unknown;
}

} // namespace

/// One of the two directories that hold device directories:
/// front "device/<type>/<id>", back "backend/<type>/<domain>/<id>". Watch thread only.
class Bus {
public:
    constexpr Bus(const char* root, End end, unsigned depth) noexcept
        : root_{root}, end_{end}, depth_{depth} {}

    void start() {
        watch_.path = root_;
        watch_.context = this;
        watch_.fired = [](Watch& watch, const char* path) {
            static_cast<Bus*>(watch.context)->changed(path);
        };
        if (!add_watch(watch_))
            kernel::printk(kernel::Level::error, "xenbus: cannot watch %s\n", root_);
    }
    /// True when the first enumeration is over and every front found by it is connected or has
    /// failed.
    [[nodiscard]] bool is_settled() const noexcept { return enumerated_ && waiting_ == 0; }
    /// A front found at boot is usable, or never will be.
    void device_settled() noexcept {
        --waiting_;
        settled_.wake_all();
    }
    [[nodiscard]] End end() const noexcept { return end_; }
    kernel::WaitQueue settled_;

private:
    void changed(const char* path) {
        // Cut the path after the device's own directory; a shorter one concerns many devices.
        unsigned slashes = 0;
        std::size_t length = 0;
        for (; path[length] != '\0'; ++length)
            if (path[length] == '/' && ++slashes > depth_)
                break;
        if (slashes < depth_)
            return scan();
        const NodePath node{"%.*s", static_cast<int>(length), path};
        const bool is_own_directory = path[length] == '\0';
        update(node, is_own_directory || std::strcmp(path + length, "/state") == 0);
    }

    /// Looks at everything: new directories, those gone, and the others' states.
    void scan() {
        for (Device* device = devices_.front(); device != nullptr;) {
            Device* next = devices_.next(*device);
            look_at_own(*device);
            device = next;
        }
        for (DriverType& type : types)
            if (type.end == end_)
                scan_below(NodePath{"%s/%s", root_, type.type}, 1);
        if (!enumerated_) {
            enumerated_ = true;
            settled_.wake_all();
        }
    }
    void scan_below(const NodePath& path, unsigned level) {
        auto names = directory(path);
        if (!names)
            return;
        for (const char* name = names->next(nullptr); name != nullptr; name = names->next(name)) {
            const NodePath below{"%s/%s", path.c_str(), name};
            if (level + 1 == depth_)
                update(below, false);
            else
                scan_below(below, level + 1);
        }
    }

    /// Creates the device of a directory that has one to be created; deletes one whose directory is
    /// gone.
    void update(const NodePath& node, bool state_or_all) {
        for (Device& device : devices_)
            if (std::strcmp(device.own(), node) == 0) {
                if (state_or_all)
                    look_at_own(device);
                return;
            }
        const auto number = read_number(NodePath{"%s/state", node.c_str()});
        if (!number || to_state(*number) != State::initialising)
            return;
        const char* type_name = node.c_str() + strlen(root_) + 1;
        for (DriverType& type : types) {
            const std::size_t length = strlen(type.type);
            if (type.end == end_ && std::strncmp(type_name, type.type, length) == 0 &&
                type_name[length] == '/')
                return create(type, node);
        }
    }

    /// The device's own state key changed: it is gone, or the tools ask the backend to close.
    void look_at_own(Device& device) {
        const auto number = read_number(device.own_key("state"));
        if (!number && number.error() == Errno::noent)
            return remove_device(device);
        if (!number || end_ != End::back || to_state(*number) != State::closing ||
            device.state_ == State::closing || device.state_ == State::closed)
            return;
        device.state_ = State::closing;
        // A front end that runs sees the same key and closes first; without one this side is done
        // at once.
        const State other = device.other_seen_;
        if (other == State::unknown || other == State::initialising || other == State::closed)
            device.other_changed(State::closed);
    }

    void create(DriverType& type, const NodePath& node) {
        const bool front = end_ == End::front;
        auto other = read(NodePath{"%s/%s", node.c_str(), front ? "backend" : "frontend"});
        const auto other_id =
            read_number(NodePath{"%s/%s", node.c_str(), front ? "backend-id" : "frontend-id"});
        if (!other || !other_id || *other_id > 0xffff)
            return; // not complete yet: the rest of the directory fires the watch again
        std::uint64_t id = 0;
        const char* last = node;
        for (const char* at = node; *at != '\0'; ++at)
            if (*at == '/')
                last = at + 1;
        for (const char* digit = last; *digit >= '0' && *digit <= '9'; ++digit)
            id = id * 10 + static_cast<std::uint64_t>(*digit - '0');
        const NodeInfo info{node, NodePath{"%s", other->c_str()},
                            static_cast<kernel::DomainId>(*other_id), id};
        Device* device = type.create(info);
        if (device == nullptr) {
            kernel::printk(kernel::Level::error, "xenbus: no memory for %s\n", node.c_str());
            return;
        }
        device->type_ = &type;
        device->bus_ = this;
        devices_.push_back(*device);
        if (front && !enumerated_) {
            ++waiting_;
            device->awaited_ = true;
        }
        const Status started = device->start();
        if (!started) {
            if (device->state() != State::closing) // else start() has said why itself
                device->fail(started.error(), "cannot start");
            return;
        }
        device->watch_.path = device->other_state_path_;
        device->watch_.any_path = true; // the other end makes as many names below as it likes
        device->watch_.context = device;
        device->watch_.fired = Device::watch_fired;
        const Status watched = add_watch(device->watch_);
        if (!watched)
            device->fail(watched.error(), "cannot watch the other end");
    }

    void remove_device(Device& device) {
        kernel::printk(kernel::Level::debug, "xenbus: %s is gone\n", device.own());
        remove_watch(device.watch_);
        device.settled();
        device.stop();
        devices_.remove(device);
        delete &device;
    }

public:
    static constinit cero::IntrusiveList<DriverType, &DriverType::link> types;

private:
    const char* root_;
    End end_;
    unsigned depth_; ///< slashes in the path of a device's directory
    Watch watch_{};
    cero::IntrusiveList<Device, &Device::link_> devices_;
    unsigned waiting_{};
    bool enumerated_{};
};

constinit cero::IntrusiveList<DriverType, &DriverType::link> Bus::types;

namespace {

constinit Bus fronts{"device", End::front, 2};
constinit Bus backs{"backend", End::back, 3};

/// Watches start on a thread: in dom0 nobody answers before user space has started the store's
/// daemon.
void start_buses(void*) {
    fronts.start();
    if (kernel::is_initial_domain())
        backs.start();
}

/// In a guest, disks and interfaces are there before /init runs.
void start_bus() {
    if (!has_store())
        return;
    if (!kernel::spawn_kernel_thread("xenbus", start_buses, nullptr))
        kernel::panic("xenbus: no memory for a thread");
    if (kernel::is_initial_domain())
        return;
    const bool settled = fronts.settled_.wait_until(kernel::monotonic_ns() + boot_wait,
                                                    [] { return fronts.is_settled(); });
    if (!settled)
        kernel::printk(kernel::Level::warning, "xenbus: some devices do not connect; going on\n");
}
CERO_INITCALL(late, start_bus);

} // namespace

void register_driver(DriverType& type) noexcept {
    Bus::types.push_back(type);
}

void Device::watch_fired(Watch& watch, const char*) {
    auto& device = *static_cast<Device*>(watch.context);
    const auto number = read_number(device.other_state_path_);
    const State state = number ? to_state(*number) : State::unknown;
    // Closing is said again when the first time was refused because the device was in use.
    if (state == device.other_seen_ && state != State::closing)
        return;
    device.other_seen_ = state;
    device.other_changed(state);
}

Status Device::set_state(State state) {
    if (state == state_)
        return {};
    TRY(write_format(own_key("state"), no_transaction, "%u", static_cast<unsigned>(state)));
    state_ = state;
    if (state == State::closing || state == State::closed)
        settled();
    return {};
}

void Device::settled() noexcept {
    if (awaited_)
        bus_->device_settled();
    awaited_ = false;
}

void Device::fail(Errno error, const char* what) {
    kernel::printk_limited(lines_, kernel::Level::error, "xenbus: %s: %s (errno %d)\n", own(), what,
                           static_cast<int>(error));
    static_cast<void>(write_format(NodePath{"error/%s/error", own()}, no_transaction, "%d %s",
                                   static_cast<int>(error), what));
    static_cast<void>(set_state(State::closing));
}

std::uint64_t Device::own_number(const char* key, std::uint64_t fallback) const {
    return read_number(own_key(key)).value_or(fallback);
}

std::uint64_t Device::other_number(const char* key, std::uint64_t fallback) const {
    return read_number(other_key(key)).value_or(fallback);
}

Status Device::write_own(const char* key, std::uint64_t value, Transaction transaction) {
    return write_format(own_key(key), transaction, "%llu", static_cast<unsigned long long>(value));
}

} // namespace drivers::xenbus
