// SPDX-License-Identifier: BSD-2-Clause
// DomainControl: everything that dom0 asks of the hypervisor, behind an interface that tests
// replace.
#pragma once

#include "base/error.hpp"
#include "control/kernel_devices.hpp"

#include <cero/abi/domctl.h>
#include <cero/abi/trap.h>

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cero::control {

using DomainInfo = cero_domctl_getdomaininfo;
using Uuid = std::array<std::uint8_t, 16>;

/// A hypercall that failed; `number` is the positive errno.
class HypercallError : public Error {
public:
    HypercallError(int number, std::string what, std::string remedy = {})
        : Error{ExitCode::failed, std::move(what), std::move(remedy)}, number_{number} {}
    [[nodiscard]] int number() const noexcept { return number_; }

private:
    int number_;
};

constexpr std::uint64_t pages_per_mib = (1 << 20) / CERO_PAGE_SIZE;

struct MachineInfo {
    std::uint32_t cpus{};
    std::uint32_t cpu_khz{};
    std::uint32_t threads_per_core{};
    std::uint32_t cores_per_socket{};
    std::uint32_t nodes{};
    std::uint64_t total_pages{};
    std::uint64_t free_pages{};
};

struct VersionInfo {
    unsigned major{};
    unsigned minor{};
    std::string extra;
    std::string capabilities;
    std::string changeset;
    std::string compiler;
    std::string compile_by;
    std::string compile_date;
};

struct VcpuInfo {
    bool is_online{};
    bool is_blocked{};
    bool is_running{};
    std::uint64_t cpu_time_ns{};
    std::uint32_t cpu{};
};

struct SchedulerParameters {
    unsigned weight{};
    unsigned cap{};
};

enum class ShutdownReason : unsigned { poweroff, reboot, suspend, crash, watchdog, soft_reset };
[[nodiscard]] std::string_view shutdown_reason_name(unsigned reason) noexcept;

/// Members throw HypercallError unless they say otherwise. Frames are machine frames.
class DomainControl {
public:
    virtual ~DomainControl() = default;

    virtual cero_domid create_domain(const Uuid& uuid, unsigned vcpus) = 0;
    /// Waits for the hypervisor to give everything back that it can give back now.
    virtual void destroy_domain(cero_domid domain) = 0;
    virtual void set_max_memory(cero_domid domain, std::uint64_t kib) = 0;
    virtual void set_max_vcpus(cero_domid domain, unsigned vcpus) = 0;
    /// The guest's view of its memory: `kib` of it from address 0 on.
    virtual void set_memory_map(cero_domid domain, std::uint64_t kib) = 0;
    virtual void set_affinity(cero_domid domain, unsigned vcpu, const std::vector<bool>& cpus) = 0;
    /// A flag per CPU of the machine.
    [[nodiscard]] virtual std::vector<bool> affinity(cero_domid domain, unsigned vcpu) = 0;
    /// Gives the domain 2^order contiguous frames for each of `pfns`, which become the first frame
    /// of each extent. Returns how many extents it got (fewer when memory is short).
    virtual std::size_t populate(cero_domid domain, std::span<cero_frame> pfns, unsigned order) = 0;
    virtual void pin_top_level_table(cero_domid domain, cero_frame frame) = 0;
    virtual void set_vcpu_context(cero_domid domain, unsigned vcpu,
                                  const cero_vcpu_guest_context& context) = 0;
    /// The registers of a vCPU, std::nullopt when it was never started. The domain must stand
    /// still.
    [[nodiscard]] virtual std::optional<cero_vcpu_guest_context> vcpu_context(cero_domid domain,
                                                                              unsigned vcpu) = 0;
    /// A flag per frame: whether `domain` owns it.
    [[nodiscard]] virtual std::vector<bool> owned_frames(cero_domid domain,
                                                         std::span<const cero_frame> frames) = 0;
    virtual void fill_hypercall_page(cero_domid domain, cero_frame frame) = 0;
    [[nodiscard]] virtual cero_frame grant_table_frame(cero_domid domain) = 0;
    [[nodiscard]] virtual cero_evtchn_port allocate_unbound(cero_domid domain,
                                                            cero_domid remote) = 0;
    [[nodiscard]] virtual Mapping map(cero_domid domain, std::span<const cero_frame> frames,
                                      bool writable) = 0;
    virtual void pause(cero_domid domain) = 0;
    virtual void unpause(cero_domid domain) = 0;
    virtual void set_scheduler(cero_domid domain, SchedulerParameters parameters) = 0;
    [[nodiscard]] virtual SchedulerParameters scheduler(cero_domid domain) = 0;

    /// std::nullopt when there is no such domain.
    [[nodiscard]] virtual std::optional<DomainInfo> domain(cero_domid domain) = 0;
    [[nodiscard]] virtual std::vector<DomainInfo> domains() = 0;
    [[nodiscard]] virtual std::optional<VcpuInfo> vcpu(cero_domid domain, unsigned vcpu) = 0;
    [[nodiscard]] virtual MachineInfo machine() = 0;
    [[nodiscard]] virtual VersionInfo version() = 0;
    /// The hypervisor's log, oldest first.
    [[nodiscard]] virtual std::string log_text(bool clear) = 0;
    /// How many frames and accounts the hypervisor finds to disagree with what holds references to
    /// them (its log names them); std::nullopt when this hypervisor cannot tell.
    [[nodiscard]] virtual std::optional<std::uint64_t> audit_frames() = 0;
    /// 0 closed, 1 unbound, 2 interdomain ..., std::nullopt past the domain's last port.
    [[nodiscard]] virtual std::optional<unsigned> port_status(cero_domid domain,
                                                              cero_evtchn_port port) = 0;
    /// Idle nanoseconds of each CPU since the start.
    [[nodiscard]] virtual std::vector<std::uint64_t> cpu_idle_times() = 0;
};

/// The real thing, through /dev/xen/privcmd. Throws Error when this is not a control domain.
[[nodiscard]] std::unique_ptr<DomainControl> open_domain_control();

/// Through an open privcmd, for programs that have one already.
[[nodiscard]] std::optional<DomainInfo> domain_info(Privcmd& privcmd, cero_domid domain);

} // namespace cero::control
