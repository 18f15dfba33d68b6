// SPDX-License-Identifier: BSD-2-Clause
// Specifications of disks, network interfaces and CPU sets, as xl writes them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cero::config {

struct DiskSpec {
    std::string target; ///< block device of the control domain, as given
    std::string vdev;   ///< "xvda"
    bool is_writable{true};
    bool is_cdrom{};
    std::optional<bool> discard;
    bool persistent_grants{}; ///< offered to the guest
    [[nodiscard]] unsigned device_id() const;
    bool operator==(const DiskSpec&) const = default;
};

using MacAddress = std::array<std::uint8_t, 6>;
struct VifSpec {
    std::optional<MacAddress> mac;
    std::string bridge{"xenbr0"};
    std::string vifname;
    std::string ip;
    std::optional<unsigned> mtu;
    bool operator==(const VifSpec&) const = default;
};

/// A specification that cannot be used; the text says why, the caller adds where it stood.
struct SpecError {
    std::string text;
};

/// Each throws SpecError.
[[nodiscard]] DiskSpec parse_disk(std::string_view text);
[[nodiscard]] VifSpec parse_vif(std::string_view text);
/// "0-3,^2", "all", "1": the CPUs that are meant, as flags.
[[nodiscard]] std::vector<bool> parse_cpus(std::string_view text);
/// The other way: "0-1,3"; "all" when no flag is clear.
[[nodiscard]] std::string cpus_text(const std::vector<bool>& cpus);
/// The number of a virtual disk by its name ("xvda" is 51712), or std::nullopt.
[[nodiscard]] std::optional<unsigned> device_id_of(std::string_view vdev) noexcept;
/// The name of a virtual disk by its number, as good as it is known.
[[nodiscard]] std::string vdev_of(unsigned device_id);
[[nodiscard]] std::optional<MacAddress> parse_mac(std::string_view text) noexcept;
[[nodiscard]] std::string format_mac(const MacAddress& mac);

} // namespace cero::config
