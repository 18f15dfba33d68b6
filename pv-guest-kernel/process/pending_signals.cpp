// SPDX-License-Identifier: BSD-2-Clause
// PendingSignals: a set of signals with details for some of them. Pure; tested on the host.
#include "sched/thread.hpp"

namespace kernel {

namespace {
constexpr int first_realtime = 32;
}

void PendingSignals::add(const SignalInfo& info) noexcept {
    const std::uint64_t bit = signal_bit(info.signal);
    if ((bits_ & bit) != 0 && info.signal < first_realtime)
        return;
    bits_ |= bit;
    if (count_ < queue_size)
        queue_[count_++] = info;
}

bool PendingSignals::take(std::uint64_t set, SignalInfo& out) noexcept {
    const std::uint64_t eligible = bits_ & set;
    if (eligible == 0)
        return false;
    const int signal = __builtin_ctzll(eligible) + 1;
    unsigned found = count_;
    bool more = false;
    for (unsigned i = 0; i < count_; ++i) {
        if (queue_[i].signal != signal)
            continue;
        if (found == count_)
            found = i;
        else
            more = true;
    }
    out = SignalInfo{};
    out.signal = signal;
    if (found != count_) {
        out = queue_[found];
        for (unsigned i = found; i + 1 < count_; ++i)
            queue_[i] = queue_[i + 1];
        --count_;
    }
    if (!more)
        bits_ &= ~signal_bit(signal);
    return true;
}

void PendingSignals::remove(std::uint64_t set) noexcept {
    bits_ &= ~set;
    unsigned kept = 0;
    for (unsigned i = 0; i < count_; ++i)
        if ((signal_bit(queue_[i].signal) & set) == 0)
            queue_[kept++] = queue_[i];
    count_ = kept;
}

} // namespace kernel
