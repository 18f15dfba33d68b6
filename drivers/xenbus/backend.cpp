// SPDX-License-Identifier: BSD-2-Clause
// The backends' answers to their front end's states.
#include "backend.hpp"

namespace drivers::xenbus {

void BackendDevice::other_changed(State other) {
    switch (other) {
    case State::initialising:
        if (state() == State::closed && is_open())
            static_cast<void>(set_state(State::init_wait));
        break;
    case State::initialised:
    case State::connected:
        if (state() == State::init_wait)
            if (const Status connected = connect(); !connected) {
                disconnect();
                fail(connected.error(), "cannot connect to the front end");
            }
        break;
    case State::closing:
        disconnect();
        static_cast<void>(set_state(State::closing));
        break;
    case State::closed:
    case State::unknown:
        disconnect();
        static_cast<void>(set_state(State::closed));
        if (own_number("online", 1) == 0)
            release();
        break;
    default:
        break;
    }
}

void BackendDevice::stop() {
    disconnect();
    release();
}

Status BackendDevice::refuse(Errno error, const char* why) {
    static_cast<void>(write(own_key("hotplug-status"), "error"));
    fail(error, why);
    return error;
}

} // namespace drivers::xenbus
