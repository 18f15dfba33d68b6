// SPDX-License-Identifier: BSD-2-Clause
// The domain builder: checks images, then fills a new domain with a kernel that can be started.
#pragma once

#include "builder/layout.hpp"
#include "control/domain_control.hpp"

#include <memory>
#include <string>

namespace cero::builder {

/// Everything about a new domain's contents that can be checked before the domain exists.
class Plan {
public:
    /// Throws Error with the file, the cause and a remedy. An empty ramdisk path means none.
    static Plan make(const std::string& kernel_path, const std::string& ramdisk_path,
                     const std::string& command_line, std::uint64_t memory_mib);

    [[nodiscard]] const KernelImage& kernel() const noexcept { return kernel_; }
    [[nodiscard]] const Layout& layout() const noexcept { return layout_; }

private:
    friend class Builder;
    std::string kernel_path_;
    std::string ramdisk_path_;
    std::string command_line_;
    std::unique_ptr<ImageSource> kernel_source_;
    std::unique_ptr<ImageSource> ramdisk_source_;
    KernelImage kernel_;
    Layout layout_;
};

/// How the outside reaches a domain that was built.
struct Built {
    cero_frame store_frame{};
    cero_evtchn_port store_port{};
    cero_frame console_frame{};
    cero_evtchn_port console_port{};
};

/// Fills an existing, paused, empty domain. Throws Error; the caller destroys the domain then.
[[nodiscard]] Built build(control::DomainControl& control, cero_domid domain, const Plan& plan);

} // namespace cero::builder
