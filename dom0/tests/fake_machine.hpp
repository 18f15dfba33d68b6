// SPDX-License-Identifier: BSD-2-Clause
// FakeControl: a hypervisor for tests, with real memory behind its frames; LocalStore: a store in
// this process.
#pragma once

#include "control/domain_control.hpp"
#include "control/store_client.hpp"
#include "store/core.hpp"

#include <cero/abi/shared_info.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <map>
#include <set>

namespace cero::test {

/// Frames live in a memfd, so that scattered frames can be mapped side by side. Counts its calls
/// and fails the one that `fail_at` names, to prove that everything is taken back.
class FakeControl final : public control::DomainControl {
public:
    static constexpr std::uint64_t frames_total = 32768; // 128 MiB, sparse

    FakeControl() : memory_{::memfd_create("frames", 0)} {
        (void)!::ftruncate(memory_.get(), frames_total * 4096);
        for (cero_frame frame = frames_total; frame-- > 1;)
            free_.push_back(frame ^ 1); // neighbours are not in order
    }

    struct Domain {
        control::DomainInfo info{};
        std::vector<cero_frame> frames;
        cero_frame shared_info{};
        cero_frame grant_table{};
        cero_frame pinned{};
        cero_frame hypercall_page{};
        cero_vcpu_guest_context context{};
        std::map<unsigned, std::vector<bool>> affinity;
        std::uint64_t memory_map_kib{};
        bool is_running{};
        cero_evtchn_port ports{};
    };
    std::map<cero_domid, Domain> table;
    int fail_at{-1};
    int calls{0};
    int fail_with{EINVAL};
    bool large_extents{true};
    std::optional<std::uint64_t> wrong_frames{0}; ///< what audits find
    int audit_fails_with{0};
    unsigned cpus{2};

    [[nodiscard]] std::size_t free_frames() const noexcept { return free_.size(); }

    cero_domid create_domain(const control::Uuid& uuid, unsigned) override {
        step();
        const cero_domid number = next_++;
        Domain& domain = table[number];
        domain.info.domain = number;
        domain.info.flags = CERO_DOMINF_paused;
        std::copy(uuid.begin(), uuid.end(), domain.info.handle);
        domain.shared_info = take_frame();
        domain.grant_table = take_frame();
        domain.info.shared_info_frame = domain.shared_info;
        return number;
    }
    void destroy_domain(cero_domid number) override {
        const auto at = table.find(number);
        if (at == table.end())
            return;
        for (const cero_frame frame : at->second.frames)
            free_.push_back(frame);
        free_.push_back(at->second.shared_info);
        free_.push_back(at->second.grant_table);
        table.erase(at);
    }
    void set_max_memory(cero_domid number, std::uint64_t kib) override {
        step();
        find(number).info.max_pages = kib / 4;
    }
    void set_max_vcpus(cero_domid number, unsigned vcpus) override {
        step();
        find(number).info.max_vcpu_id = vcpus - 1;
        find(number).info.nr_online_vcpus = 1;
    }
    void set_memory_map(cero_domid number, std::uint64_t kib) override {
        step();
        find(number).memory_map_kib = kib;
    }
    void set_affinity(cero_domid number, unsigned vcpu, const std::vector<bool>& allowed) override {
        step();
        find(number).affinity[vcpu] = allowed;
    }
    std::vector<bool> affinity(cero_domid number, unsigned vcpu) override {
        const auto& known = find(number).affinity;
        const auto at = known.find(vcpu);
        return at == known.end() ? std::vector<bool>(cpus, true) : at->second;
    }
    std::optional<cero_vcpu_guest_context> vcpu_context(cero_domid number, unsigned vcpu) override {
        return vcpu == 0 ? std::optional{find(number).context} : std::nullopt;
    }
    std::vector<bool> owned_frames(cero_domid number, std::span<const cero_frame> frames) override {
        const std::vector<cero_frame>& own = find(number).frames;
        std::vector<bool> owned;
        for (const cero_frame frame : frames)
            owned.push_back(std::find(own.begin(), own.end(), frame) != own.end());
        return owned;
    }
    std::size_t populate(cero_domid number, std::span<cero_frame> pfns, unsigned order) override {
        step();
        Domain& domain = find(number);
        if (order != 0)
            return 0;
        std::size_t done = 0;
        for (cero_frame& pfn : pfns) {
            if (free_.empty() || domain.info.tot_pages >= domain.info.max_pages)
                break;
            pfn = take_frame();
            domain.frames.push_back(pfn);
            ++domain.info.tot_pages;
            ++done;
        }
        return done;
    }
    void pin_top_level_table(cero_domid number, cero_frame frame) override {
        step();
        find(number).pinned = frame;
    }
    void set_vcpu_context(cero_domid number, unsigned,
                          const cero_vcpu_guest_context& context) override {
        step();
        find(number).context = context;
    }
    void fill_hypercall_page(cero_domid number, cero_frame frame) override {
        step();
        find(number).hypercall_page = frame;
    }
    cero_frame grant_table_frame(cero_domid number) override {
        step();
        return find(number).grant_table;
    }
    cero_evtchn_port allocate_unbound(cero_domid number, cero_domid) override {
        step();
        return ++find(number).ports;
    }
    control::Mapping map(cero_domid number, std::span<const cero_frame> frames, bool) override {
        step();
        (void)find(number);
        return map_frames(frames);
    }
    void pause(cero_domid number) override { find(number).is_running = false; }
    void unpause(cero_domid number) override {
        step();
        find(number).is_running = true;
    }
    void set_scheduler(cero_domid number, control::SchedulerParameters) override {
        step();
        (void)find(number);
    }
    control::SchedulerParameters scheduler(cero_domid) override { return {256, 0}; }
    std::optional<control::DomainInfo> domain(cero_domid number) override {
        const auto at = table.find(number);
        if (at == table.end())
            return std::nullopt;
        return at->second.info;
    }
    std::vector<control::DomainInfo> domains() override {
        std::vector<control::DomainInfo> all;
        for (const auto& [number, entry] : table)
            all.push_back(entry.info);
        return all;
    }
    std::optional<control::VcpuInfo> vcpu(cero_domid number, unsigned vcpu) override {
        return vcpu <= find(number).info.max_vcpu_id ? std::optional{control::VcpuInfo{}}
                                                     : std::nullopt;
    }
    control::MachineInfo machine() override {
        control::MachineInfo info;
        info.cpus = cpus;
        info.total_pages = frames_total;
        info.free_pages = free_.size();
        return info;
    }
    control::VersionInfo version() override { return {}; }
    std::string log_text(bool) override { return {}; }
    std::optional<std::uint64_t> audit_frames() override {
        if (audit_fails_with != 0)
            throw control::HypercallError{audit_fails_with, "injected failure"};
        return wrong_frames;
    }
    std::optional<unsigned> port_status(cero_domid number, cero_evtchn_port port) override {
        const auto at = table.find(number);
        if (at == table.end() || port > at->second.ports)
            return std::nullopt;
        return 1;
    }
    std::vector<std::uint64_t> cpu_idle_times() override { return {}; }

    [[nodiscard]] control::Mapping map_frames(std::span<const cero_frame> frames) const {
        auto* const area = static_cast<char*>(
            ::mmap(nullptr, frames.size() * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        for (std::size_t i = 0; i < frames.size(); ++i)
            ::mmap(area + i * 4096, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                   memory_.get(), static_cast<off_t>(frames[i] * 4096));
        return {area, frames.size() * 4096};
    }

private:
    void step() {
        if (calls++ == fail_at)
            throw control::HypercallError{fail_with, "injected failure"};
    }
    Domain& find(cero_domid number) {
        const auto at = table.find(number);
        if (at == table.end())
            throw control::HypercallError{ESRCH, "no such domain"};
        return at->second;
    }
    cero_frame take_frame() {
        const cero_frame frame = free_.back();
        free_.pop_back();
        // Whoever forgets to write something shall see it.
        const std::string rubbish(4096, '\x5a');
        (void)!::pwrite(memory_.get(), rubbish.data(), rubbish.size(),
                        static_cast<off_t>(frame * 4096));
        return frame;
    }

    Fd memory_;
    std::vector<cero_frame> free_;
    cero_domid next_{1};
};

/// A store without a process: requests are served when they are sent.
class LocalStore final : public store::DomainService {
public:
    LocalStore() {
        std::vector<store::Change> ignored;
        (void)core.tree().make(store::Caller{}, "/local/domain/0", {}, ignored);
    }
    std::set<store::DomainNumber> introduced;
    bool refuses_introduction{false};
    bool is_silent{false}; ///< takes requests and answers none
    store::Core core{*this, store::Limits{}};

    Status introduce(store::DomainNumber domain, std::uint64_t, std::uint32_t) override {
        if (refuses_introduction)
            return Errno::inval;
        introduced.insert(domain);
        return {};
    }
    Status release(store::DomainNumber domain) override {
        introduced.erase(domain);
        return {};
    }
    bool is_introduced(store::DomainNumber domain) const override {
        return introduced.contains(domain);
    }
    Status resume(store::DomainNumber) override { return {}; }
    Status set_target(store::DomainNumber, store::DomainNumber) override { return {}; }

    [[nodiscard]] std::size_t nodes() const {
        std::size_t count = 0;
        store::walk(core.tree().root(), "/",
                    [&](const std::string&, const store::Node&) { ++count; });
        return count;
    }
    /// What the client may do besides asking: a test's backends live here.
    std::function<void()> idle;
    /// What others see after each request.
    std::function<void()> served;

    [[nodiscard]] control::StoreClient client(int patience_ms = control::StoreClient::patience_ms) {
        return control::StoreClient{std::make_unique<Link>(*this), patience_ms};
    }

private:
    class Link final : public control::StoreLink {
    public:
        explicit Link(LocalStore& store) : store_{store} { store_.core.add(connection_); }
        ~Link() override { store_.core.remove(connection_); }
        bool send(std::string_view bytes) override {
            if (store_.is_silent)
                return true;
            connection_.decoder.feed(bytes);
            store_.core.serve(connection_);
            if (auto call = std::exchange(store_.served, nullptr)) {
                call();
                store_.served = std::move(call);
            }
            return true;
        }
        std::optional<std::string> receive(int timeout_ms) override {
            if (!connection_.has_output() && store_.idle)
                store_.idle();
            std::string bytes;
            while (connection_.has_output()) {
                const std::string_view part = connection_.output();
                bytes += part;
                connection_.consume_output(part.size());
            }
            if (bytes.empty() && timeout_ms > 0)
                ::usleep(1000);
            return bytes;
        }

    private:
        LocalStore& store_;
        store::Connection connection_{0};
    };
};

} // namespace cero::test
