// SPDX-License-Identifier: BSD-2-Clause
// Who may do what with a XenStore node: owner, default rights, and rights of single domains.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cero::store {

using DomainNumber = std::uint16_t;
inline constexpr DomainNumber no_domain = 0x7ff4;

/// Set of rights; the letters of the wire format are n (none), r, w, b (both).
struct Rights {
    bool read{};
    bool write{};
    bool operator==(const Rights&) const = default;
};

struct Permission {
    Rights rights;
    DomainNumber domain{};
    bool operator==(const Permission&) const = default;
};

/// Who asks. A stub domain may act with the rights of its target as well as with its own.
struct Caller {
    DomainNumber domain{};
    DomainNumber target{no_domain};
    [[nodiscard]] bool is_privileged() const noexcept { return domain == 0; }
    [[nodiscard]] bool is(DomainNumber other) const noexcept {
        return domain == other || (target != no_domain && target == other);
    }
};

/// Never empty: the first entry names the owner, who may do everything, and the rights of everyone
/// whom no later entry names.
class Permissions {
public:
    Permissions() : entries_{{Rights{}, 0}} {}
    explicit Permissions(std::vector<Permission> entries) : entries_{std::move(entries)} {}

    [[nodiscard]] DomainNumber owner() const noexcept { return entries_.front().domain; }
    void set_owner(DomainNumber domain) noexcept { entries_.front().domain = domain; }
    [[nodiscard]] bool is_owned_by(const Caller& caller) const noexcept {
        return caller.is_privileged() || caller.is(owner());
    }
    [[nodiscard]] Rights rights_of(const Caller& caller) const noexcept;
    [[nodiscard]] const std::vector<Permission>& entries() const noexcept { return entries_; }

    [[nodiscard]] bool names(DomainNumber domain) const noexcept;
    /// Afterwards no entry names `domain`; what it owned is `heir`'s.
    void forget(DomainNumber domain, DomainNumber heir);

    /// "r0" per entry, each closed by a NUL.
    [[nodiscard]] std::string to_wire() const;
    /// std::nullopt for an empty list or a malformed entry.
    [[nodiscard]] static std::optional<Permissions>
    from_strings(const std::vector<std::string_view>& texts);

    bool operator==(const Permissions&) const = default;

private:
    std::vector<Permission> entries_;
};

/// A decimal domain number below the reserved ones.
[[nodiscard]] std::optional<DomainNumber> parse_domain(std::string_view text) noexcept;

} // namespace cero::store
