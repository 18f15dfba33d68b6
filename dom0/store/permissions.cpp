// SPDX-License-Identifier: BSD-2-Clause
// Evaluation and wire form of node permissions.
#include "store/permissions.hpp"

#include "base/number.hpp"

#include <algorithm>

namespace cero::store {

Rights Permissions::rights_of(const Caller& caller) const noexcept {
    if (is_owned_by(caller))
        return {true, true};
    for (std::size_t i = 1; i < entries_.size(); ++i)
        if (caller.is(entries_[i].domain))
            return entries_[i].rights;
    return entries_.front().rights;
}

bool Permissions::names(DomainNumber domain) const noexcept {
    return std::any_of(entries_.begin(), entries_.end(),
                       [&](const Permission& entry) { return entry.domain == domain; });
}

void Permissions::forget(DomainNumber domain, DomainNumber heir) {
    const auto is_its = [&](const Permission& entry) { return entry.domain == domain; };
    entries_.erase(std::remove_if(entries_.begin() + 1, entries_.end(), is_its), entries_.end());
    if (owner() == domain)
        set_owner(heir);
}

std::string Permissions::to_wire() const {
    std::string out;
    for (const Permission& entry : entries_) {
        const Rights r = entry.rights;
        out += r.read ? (r.write ? 'b' : 'r') : (r.write ? 'w' : 'n');
        out += std::to_string(entry.domain);
        out += '\0';
    }
    return out;
}

std::optional<DomainNumber> parse_domain(std::string_view text) noexcept {
    constexpr DomainNumber first_reserved = 0x7ff0;
    const auto domain = number_of<DomainNumber>(text);
    return domain && *domain < first_reserved ? domain : std::nullopt;
}

std::optional<Permissions> Permissions::from_strings(const std::vector<std::string_view>& texts) {
    std::vector<Permission> entries;
    for (const std::string_view text : texts) {
        if (text.size() < 2)
            return std::nullopt;
        const char letter = text.front();
        if (letter != 'n' && letter != 'r' && letter != 'w' && letter != 'b')
            return std::nullopt;
        const auto domain = parse_domain(text.substr(1));
        if (!domain)
            return std::nullopt;
        entries.push_back(
            {{letter == 'r' || letter == 'b', letter == 'w' || letter == 'b'}, *domain});
    }
    if (entries.empty())
        return std::nullopt;
    return Permissions{std::move(entries)};
}

} // namespace cero::store
