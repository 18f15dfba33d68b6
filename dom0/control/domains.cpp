// SPDX-License-Identifier: BSD-2-Clause
// Lists of domains through sysctl.
#include "control/domains.hpp"

#include "base/error.hpp"

#include <cero/abi/hypercall.h>
#include <cero/abi/sysctl.h>

namespace cero::control {

namespace {

constexpr std::size_t list_room = 128;

/// Fills `buffer` with domains from `first` on; returns how many.
std::size_t list_from(Privcmd& privcmd, cero_domid first, HypercallBuffer& buffer, std::size_t room) {
    auto* sysctl = buffer.as<cero_sysctl>();
    *sysctl = {};
    sysctl->cmd = CERO_SYSCTL_getdomaininfolist;
    sysctl->interface_version = CERO_SYSCTL_INTERFACE_VERSION;
    auto& list = sysctl->u.getdomaininfolist;
    list.first_domain = first;
    list.max_domains = static_cast<std::uint32_t>(room);
    list.buffer = buffer.address() + sizeof *sysctl;
    const long result = privcmd.call(CERO_HYPERCALL_sysctl, {buffer.address(), 0, 0, 0, 0});
    if (result < 0)
        fail("cannot list domains: {}", errno_text(static_cast<int>(-result)));
    return list.num_domains;
}

const DomainInfo* entries(const HypercallBuffer& buffer) noexcept {
    return reinterpret_cast<const DomainInfo*>(buffer.as<char>() + sizeof(cero_sysctl));
}

} // namespace

std::optional<DomainInfo> domain_info(Privcmd& privcmd, cero_domid domain) {
    HypercallBuffer buffer{sizeof(cero_sysctl) + sizeof(DomainInfo)};
    if (list_from(privcmd, domain, buffer, 1) == 0 || entries(buffer)->domain != domain)
        return std::nullopt;
    return *entries(buffer);
}

std::vector<DomainInfo> all_domains(Privcmd& privcmd) {
    HypercallBuffer buffer{sizeof(cero_sysctl) + list_room * sizeof(DomainInfo)};
    std::vector<DomainInfo> all;
    for (cero_domid next = 0;;) {
        const std::size_t found = list_from(privcmd, next, buffer, list_room);
        all.insert(all.end(), entries(buffer), entries(buffer) + found);
        if (found < list_room)
            return all;
        next = static_cast<cero_domid>(all.back().domain + 1);
    }
}

} // namespace cero::control
