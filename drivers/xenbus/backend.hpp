// SPDX-License-Identifier: BSD-2-Clause
// BackendDevice: the serving end of a split device, with the handshake that all of them share.
//
//   start() -> InitWait -> front Initialised or Connected -> connect() -> Connected
//        front Closing -> disconnect() -> Closing      front Closed or gone -> disconnect() ->
//        Closed front Initialising once more (a boot loader handed over) -> InitWait
#pragma once

#include "bus.hpp"

namespace drivers::xenbus {

/// A driver says what connecting and disconnecting mean; when they happen is decided here.
class BackendDevice : public Device {
public:
    void other_changed(State other) final;
    void stop() final;

protected:
    using Device::Device;

    /// The front end has written its keys. Goes to Connected itself, when it can serve. On a
    /// failure disconnect() follows, and the device closes.
    virtual Status connect() = 0;
    /// Lets go of the guest: rings, ports, grants, and requests in flight. Also when not connected.
    virtual void disconnect() = 0;
    /// Whether a front end may connect again after one has closed.
    [[nodiscard]] virtual bool is_open() const noexcept { return true; }
    /// No front end comes any more: the tools took the device away, or the directory is gone.
    virtual void release() {}

    /// Says why in the keys that the tools read, and closes. Returns `error`, for start().
    Status refuse(Errno error, const char* why);
};

} // namespace drivers::xenbus
