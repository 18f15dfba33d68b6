// SPDX-License-Identifier: BSD-2-Clause
// Byte rings of the console page and the bounded history.
#include "console/ring.hpp"

#include <algorithm>
#include <cstring>

namespace cero::console {

namespace {

std::uint32_t load(const std::uint32_t& word) noexcept {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE); // pairs with the guest's store after its data
}
void store(std::uint32_t& word, std::uint32_t value) noexcept {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

constexpr std::uint32_t in_size = sizeof(cero_console_page::in);
constexpr std::uint32_t out_size = sizeof(cero_console_page::out);

} // namespace

bool ConsoleRing::take_output(std::string& out) {
    std::uint32_t consumed = page_->out_cons;
    const std::uint32_t produced = load(page_->out_prod);
    std::uint32_t available = produced - consumed;
    if (available > out_size) { // nonsense: show what the ring holds, and go on from there
        broken_ = true;
        available = 0;
        store(page_->out_cons, produced);
        return false;
    }
    if (available == 0)
        return false;
    while (available > 0) {
        const std::uint32_t at = consumed & (out_size - 1);
        const std::uint32_t chunk = std::min(available, out_size - at);
        out.append(page_->out + at, chunk);
        consumed += chunk;
        available -= chunk;
    }
    store(page_->out_cons, consumed);
    return true;
}

std::size_t ConsoleRing::give_input(std::string_view input) {
    std::uint32_t produced = page_->in_prod;
    const std::uint32_t used = produced - load(page_->in_cons);
    if (used > in_size) {
        broken_ = true;
        return input.size(); // nobody can read it
    }
    const std::size_t count = std::min<std::size_t>(input.size(), in_size - used);
    for (std::size_t i = 0; i < count; ++i)
        page_->in[(produced + i) & (in_size - 1)] = input[i];
    produced += static_cast<std::uint32_t>(count);
    store(page_->in_prod, produced);
    return count;
}

void History::append(std::string_view bytes) {
    if (bytes.size() >= bound_) {
        bytes_ = bytes.substr(bytes.size() - bound_);
        return;
    }
    bytes_.append(bytes);
    if (bytes_.size() > 2 * bound_) // let it grow to twice the bound: cutting costs a copy
        bytes_.erase(0, bytes_.size() - bound_);
}

std::string_view History::last(std::size_t bytes) const noexcept {
    const std::string_view all = bytes_;
    const std::size_t count = std::min({bytes, bound_, all.size()});
    return all.substr(all.size() - count);
}

} // namespace cero::console
