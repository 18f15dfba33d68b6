// SPDX-License-Identifier: BSD-2-Clause
// HypervisorControl: DomainControl by hypercalls. For the files that implement it; others use
// open_domain_control().
#pragma once

#include "control/domain_control.hpp"

#include <cero/abi/hypercall.h>
#include <cero/abi/sysctl.h>

#include <cstring>
#include <utility>

namespace cero::control {

class HypervisorControl final : public DomainControl {
public:
    cero_domid create_domain(const Uuid& uuid, unsigned vcpus) override;
    void destroy_domain(cero_domid domain) override;
    void set_max_memory(cero_domid domain, std::uint64_t kib) override;
    void set_max_vcpus(cero_domid domain, unsigned vcpus) override;
    void set_memory_map(cero_domid domain, std::uint64_t kib) override;
    void set_affinity(cero_domid domain, unsigned vcpu, const std::vector<bool>& cpus) override;
    std::vector<bool> affinity(cero_domid domain, unsigned vcpu) override;
    std::size_t populate(cero_domid domain, std::span<cero_frame> pfns, unsigned order) override;
    void pin_top_level_table(cero_domid domain, cero_frame frame) override;
    void set_vcpu_context(cero_domid domain, unsigned vcpu,
                          const cero_vcpu_guest_context& context) override;
    std::optional<cero_vcpu_guest_context> vcpu_context(cero_domid domain, unsigned vcpu) override;
    std::vector<bool> owned_frames(cero_domid domain, std::span<const cero_frame> frames) override;
    void fill_hypercall_page(cero_domid domain, cero_frame frame) override;
    cero_frame grant_table_frame(cero_domid domain) override;
    cero_evtchn_port allocate_unbound(cero_domid domain, cero_domid remote) override;
    Mapping map(cero_domid domain, std::span<const cero_frame> frames, bool writable) override;
    void pause(cero_domid domain) override { simple(domain, CERO_DOMCTL_pausedomain, "pause"); }
    void unpause(cero_domid domain) override {
        simple(domain, CERO_DOMCTL_unpausedomain, "unpause");
    }
    void set_scheduler(cero_domid domain, SchedulerParameters parameters) override;
    SchedulerParameters scheduler(cero_domid domain) override;
    std::optional<DomainInfo> domain(cero_domid domain) override {
        return domain_info(privcmd_, domain);
    }
    std::vector<DomainInfo> domains() override;
    std::optional<VcpuInfo> vcpu(cero_domid domain, unsigned vcpu) override;
    MachineInfo machine() override;
    VersionInfo version() override;
    std::string log_text(bool clear) override;
    std::optional<std::uint64_t> audit_frames() override;
    std::optional<unsigned> port_status(cero_domid domain, cero_evtchn_port port) override;
    std::vector<std::uint64_t> cpu_idle_times() override;

private:
    /// Memory for arguments: one buffer for all calls, since each is used up when the call returns.
    HypercallBuffer& arguments(std::size_t bytes) {
        if (buffer_.size() < bytes)
            buffer_ = HypercallBuffer{bytes};
        std::memset(buffer_.as<void>(), 0, bytes);
        return buffer_;
    }
    cero_domctl* domctl(cero_domid domain, std::uint32_t command, std::size_t extra = 0) {
        auto* call = arguments(sizeof(cero_domctl) + extra).as<cero_domctl>();
        call->cmd = command;
        call->interface_version = CERO_DOMCTL_INTERFACE_VERSION;
        call->domain = domain;
        return call;
    }
    [[nodiscard]] std::uint64_t behind(std::size_t header) const noexcept {
        return buffer_.address() + header;
    }
    long try_call(unsigned number, std::uint64_t a0, std::uint64_t a1 = 0, std::uint64_t a2 = 0,
                  std::uint64_t a3 = 0) {
        return privcmd_.call(number, {a0, a1, a2, a3, 0});
    }
    cero_sysctl* sysctl(std::uint32_t command, std::size_t extra = 0) {
        auto* call = arguments(sizeof(cero_sysctl) + extra).as<cero_sysctl>();
        call->cmd = command;
        call->interface_version = CERO_SYSCTL_INTERFACE_VERSION;
        return call;
    }
    template <typename... Args>
    static void check(long result, fmt::format_string<Args...> what, Args&&... args) {
        if (result >= 0)
            return;
        const int error = static_cast<int>(-result);
        throw HypercallError{error,
                             fmt::format("{}: {}", fmt::format(what, std::forward<Args>(args)...),
                                         errno_text(error)),
                             remedy_for(error)};
    }
    void simple(cero_domid domain, std::uint32_t command, const char* verb) {
        domctl(domain, command);
        check(try_call(CERO_HYPERCALL_domctl, buffer_.address()), "domain {}: cannot {} it", domain,
              verb);
    }
    /// Remedies for causes that every operation shares.
    static std::string remedy_for(int error);
    unsigned scheduler_id();
    /// A call about hard affinity, with room for a bitmap of `cpus` behind it.
    cero_domctl* affinity_call(cero_domid domain, unsigned vcpu, std::uint32_t command,
                               std::size_t cpus);

    Privcmd privcmd_;
    HypercallBuffer buffer_{CERO_PAGE_SIZE};
};

} // namespace cero::control
